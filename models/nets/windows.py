"""Turns padded series into what the global network sees: numbers without level and without unit.

Everything is gathered for the whole batch at once, from one matrix of observations:

- the **sequence** the LSTM reads: patches of the last points, instance-normalised, and their differences;
- the **simple forecasts** the head mixes, as distances from the seasonal naive forecast, and their record;
- the **unit** and the **base** that turn the network's answers back into the series' own scale.

Differences of large numbers need float64; only what the network reads is float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.nets.season import INSIDE
from models.nets.simple import SIMPLE_FORECASTS, History, Moments, simple_forecasts, track_record

POINT_FEATURES = 4
PATCH_FEATURES = 3
ROW_FEATURES = 9 + 2 * SIMPLE_FORECASTS
STEP_FEATURES = 7 + SIMPLE_FORECASTS
# Below this ratio two scales count as the same nothing: rounding, not signal.
TINY = 1e-6
# Above a season there are seven of them, as there is a week above a day; above none, a year of weeks.
WEEK, YEAR = 7, 52


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """One batch, ready for the network. B series, P patches read, H steps ahead.

    Attributes:
        sequence: (B, P, patch * 4 + 3) float32, padded on the right.
        last: (B,) int64, the place of each row's last patch in `sequence`.
        row: (B, 49) float32, what is known of the window as a whole.
        steps: (B, H, 27) float32, what is known of each step.
        simple: (B, H, 20) float32, simple forecasts as distances from `base`, in `unit`s; 0 if not usable.
        usable: (B, 1, 20) bool, which simple forecasts the window is long enough for.
        record: (B, 20) float32, log of how wrong each simple forecast was lately, over the seasonal naive.
        base: (B, H) float64, the seasonal naive forecast.
        unit: (B,) float64, the mean absolute seasonal difference in the window; 0 if it repeats exactly.
        seasonal: (B,) bool, whether there is a season.
    """

    sequence: Tensor
    last: Tensor
    row: Tensor
    steps: Tensor
    simple: Tensor
    usable: Tensor
    record: Tensor
    base: Tensor
    unit: Tensor
    seasonal: Tensor


def rhythms(seasons: Tensor) -> tuple[Tensor, Tensor]:
    """The season and the long season (B, 1) that a given season length (B,) stands for."""
    m = seasons
    for season, inside in INSIDE.items():
        m = torch.where(m == season, inside, m)
    return m[:, None], torch.where(m == 1, YEAR, WEEK * m)[:, None]


def make_windows(
    values: Tensor, lengths: Tensor, seasons: Tensor, steps: int, context: int, patch: int
) -> Windows:
    """Build the features of a batch.

    Args:
        values: (B, T) float64 of about unit size, padded on the right with anything finite.
        lengths: (B,) int64, points in each row, at least 4.
        seasons: (B,) int64, points in a season; 1 for none; at most two thirds of the row's length.
        steps: how many steps ahead.
        context: how many of the last points the network reads, a multiple of `patch`.
        patch: how many points the LSTM takes in at a time.

    Source: normalising each window by its own mean and deviation: Kim et al., "Reversible Instance
    Normalization for Accurate Time-Series Forecasting against Distribution Shift", ICLR 2022.
    """
    n = lengths[:, None]
    m, long = rhythms(seasons)
    history = History.of(values)
    # The last patch ends with the last point; the first may begin before the series does.
    patches = (n.clamp(max=context) + patch - 1) // patch
    width = int(patches.max()) * patch
    place = n - patches * patch + torch.arange(width, device=values.device)
    scales = _measure(history, place, n, m, long, context)
    unit = _nonzero(scales.unit)
    ahead = torch.arange(1, steps + 1, device=values.device).expand(len(values), -1)
    now = Moments(n=n[:, None], m=m[:, None], long=long[:, None])
    base, simple, usable = simple_forecasts(history, now, ahead[:, None])
    base, simple = base[:, 0], simple[:, 0] / unit[:, :, None]
    record, tried, naive_error = track_record(history, n, m, long, unit)
    row = [_row(n.clamp(max=4 * context), m, scales), naive_error, record, tried.double()]
    return Windows(
        sequence=_sequence(history, place, n, m, long, scales, patch).float(),
        last=patches[:, 0] - 1,
        row=torch.cat(row, dim=1).float(),
        steps=torch.cat([_time(ahead, m, long), torch.asinh(simple)], dim=-1).float(),
        simple=simple.float(),
        usable=usable,
        record=record.float(),
        base=base,
        unit=scales.unit[:, 0],
        seasonal=m[:, 0] > 1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scales:
    """What is measured over the window, each (B, 1).

    Attributes:
        mean: of the points.
        deviation: their standard deviation.
        plain: mean absolute difference from one point to the next.
        unit: mean absolute difference from one season to the next; see `Windows`.
        drift: mean difference from one season to the next. Over the unit, 1 is a steady climb and 0 is all
            back and forth.
        long: mean absolute difference over a long season.
        has_long: whether there are enough points for `long`.
    """

    mean: Tensor
    deviation: Tensor
    plain: Tensor
    unit: Tensor
    drift: Tensor
    long: Tensor
    has_long: Tensor


def _measure(history: History, place: Tensor, n: Tensor, m: Tensor, long: Tensor, context: int) -> _Scales:
    seen = (place >= (n - context).clamp(min=0)) & (place < n)
    window = history.at(place)
    mean = _mean(window, seen)
    deviation = _mean((window - mean) ** 2, seen).sqrt()
    by_season = window - history.at(place - m)
    seasonal = _mean(by_season.abs(), seen & (place >= m))
    return _Scales(
        mean=mean,
        deviation=deviation,
        plain=_mean((window - history.at(place - 1)).abs(), seen & (place >= 1)),
        unit=torch.maximum(seasonal, TINY * deviation),
        drift=_mean(by_season, seen & (place >= m)),
        long=_mean((window - history.at(place - long)).abs(), seen & (place >= long)),
        has_long=n >= long + m.clamp(min=4),
    )


def _sequence(
    history: History, place: Tensor, n: Tensor, m: Tensor, long: Tensor, scales: _Scales, patch: int
) -> Tensor:
    """What the LSTM reads: patches of points and differences, and where in the season each patch ends."""
    window, unit = history.at(place), _nonzero(scales.unit)
    seen = (place >= 0) & (place < n)
    by_long = torch.where(place >= long, window - history.at(place - long), 0.0)
    features = [
        (window - scales.mean) / _nonzero(scales.deviation),
        torch.asinh(torch.where(place >= 1, window - history.at(place - 1), 0.0) / unit),
        torch.asinh(torch.where(place >= m, window - history.at(place - m), 0.0) / unit),
        torch.asinh(by_long / unit),
    ]
    points = torch.where(seen[:, :, None], torch.stack(features, dim=-1), 0.0)
    batch, width, count = points.shape
    patches = points.view(batch, width // patch, patch * count)
    angle = (place[:, patch - 1 :: patch] - n + 1) * (2 * math.pi / m)
    ends = seen[:, patch - 1 :: patch]
    season = ((m > 1) & ends).double()
    phase = torch.stack([angle.sin() * season, angle.cos() * season, ends.double()], dim=-1)
    return torch.cat([patches, phase], dim=-1)


def _row(n: Tensor, m: Tensor, scales: _Scales) -> Tensor:
    """What is known of the window as a whole, (B, 8)."""
    unit, deviation = _nonzero(scales.unit), _nonzero(scales.deviation)
    features = [
        scales.drift / unit,
        _log_ratio(scales.unit, deviation),
        _log_ratio(scales.plain, deviation),
        _log_ratio(scales.long, unit) * scales.has_long,
        scales.has_long.double(),
        (m > 1).double(),
        m.double().log() / 5,
        n.double().log() / 5,
    ]
    return torch.cat(features, dim=1)


def _time(ahead: Tensor, m: Tensor, long: Tensor) -> Tensor:
    """Where each step lies, (B, H, 7): how far ahead, and where in the season and the long season."""
    angle = ahead * (2 * math.pi / m)
    season = (m > 1).double()
    features = [
        ahead / 48,
        ahead.double().log() / 4,
        angle.sin() * season,
        angle.cos() * season,
        (ahead / m).log1p(),
        (ahead * (2 * math.pi / long)).sin(),
        (ahead * (2 * math.pi / long)).cos(),
    ]
    return torch.stack(features, dim=-1)


def _mean(values: Tensor, seen: Tensor) -> Tensor:
    """Mean over the seen places, (B, 1); 0 where none is."""
    return torch.where(seen, values, 0.0).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)


def _nonzero(scale: Tensor) -> Tensor:
    """For dividing by: a scale of 0 belongs to a window that does not move, and 0 / 1 is right for it."""
    return torch.where(scale > 0, scale, 1.0)


def _log_ratio(a: Tensor, b: Tensor) -> Tensor:
    return (a / b).clamp(TINY, 1 / TINY).log()
