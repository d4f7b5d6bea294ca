"""Turns padded series into what the global network sees: numbers without level and without unit.

Everything is gathered for the whole batch at once, from one matrix of observations:

- the **sequence** the LSTM reads: the last points, instance-normalised, and their differences;
- the **simple forecasts** the head mixes, as distances from the seasonal naive forecast;
- the **unit** and the **base** that turn the network's answers back into the series' own scale.

Differences of large numbers need float64; only what the network reads is float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SEQUENCE_FEATURES = 6
ROW_FEATURES = 8
SIMPLE_FORECASTS = 9
STEP_FEATURES = 5 + SIMPLE_FORECASTS
# Averages over seasons look this far back, and the second season is this many of the first: a week of days.
CYCLES = 7
# Below this ratio two scales count as the same nothing: rounding, not signal.
TINY = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """One batch, ready for the network. B series, L points read, H steps ahead.

    Attributes:
        sequence: (B, L, 6) float32, padded on the right.
        last: (B,) int64, the place of each row's last point in `sequence`.
        row: (B, 8) float32, what is known of the window as a whole.
        steps: (B, H, 14) float32, what is known of each step.
        simple: (B, H, 9) float32, simple forecasts as distances from `base`, in `unit`s; 0 if not usable.
        usable: (B, 1, 9) bool, which simple forecasts the window is long enough for.
        base: (B, H) float64, the seasonal naive forecast.
        unit: (B,) float64, the mean absolute seasonal difference in the window; 0 if it repeats exactly.
    """

    sequence: Tensor
    last: Tensor
    row: Tensor
    steps: Tensor
    simple: Tensor
    usable: Tensor
    base: Tensor
    unit: Tensor


def make_windows(values: Tensor, lengths: Tensor, seasons: Tensor, steps: int, context: int) -> Windows:
    """Build the features of a batch.

    Args:
        values: (B, T) float64 of about unit size, padded on the right with anything finite.
        lengths: (B,) int64, points in each row, at least 4.
        seasons: (B,) int64, points in a season; 1 for none; at most two thirds of the row's length.
        steps: how many steps ahead.
        context: how many of the last points the network reads.

    Source: normalising each window by its own mean and deviation: Kim et al., "Reversible Instance
    Normalization for Accurate Time-Series Forecasting against Distribution Shift", ICLR 2022.
    """
    n, m = lengths[:, None], seasons[:, None]
    width = min(context, int(lengths.max()))
    place = (n - context).clamp(min=0) + torch.arange(width, device=values.device)
    scales = _measure(values, place, n, m)
    ahead = torch.arange(1, steps + 1, device=values.device).expand(len(values), -1)
    base, simple = _simple_forecasts(values, n, m, ahead, scales.drift)
    usable = torch.ones(len(values), 1, SIMPLE_FORECASTS, dtype=torch.bool, device=values.device)
    usable[:, :, -2:] = scales.has_long[:, :, None]
    # What the window is too short for was gathered from its edge: it must not reach the network at all.
    simple = torch.where(usable, simple / _nonzero(scales.unit)[:, :, None], 0.0)
    return Windows(
        sequence=_sequence(values, place, n, m, scales).float(),
        last=n[:, 0].clamp(max=width) - 1,
        row=_row(n.clamp(max=context), m, scales).float(),
        steps=torch.cat([_time(ahead, m), torch.asinh(simple)], dim=-1).float(),
        simple=simple.float(),
        usable=usable,
        base=base,
        unit=scales.unit[:, 0],
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
        long: mean absolute difference over seven seasons.
        has_long: whether a second season of seven seasons is to be believed.
    """

    mean: Tensor
    deviation: Tensor
    plain: Tensor
    unit: Tensor
    drift: Tensor
    long: Tensor
    has_long: Tensor


def _measure(values: Tensor, place: Tensor, n: Tensor, m: Tensor) -> _Scales:
    window, seen = _at(values, place), place < n
    mean = _mean(window, seen)
    deviation = _mean((window - mean) ** 2, seen).sqrt()
    by_season = window - _at(values, place - m)
    seasonal = _mean(by_season.abs(), seen & (place >= m))
    long = _mean((window - _at(values, place - CYCLES * m)).abs(), seen & (place >= CYCLES * m))
    return _Scales(
        mean=mean,
        deviation=deviation,
        plain=_mean((window - _at(values, place - 1)).abs(), seen & (place >= 1)),
        unit=torch.maximum(seasonal, TINY * deviation),
        drift=_mean(by_season, seen & (place >= m)),
        long=long,
        # The second season (a week, where the first is a day) counts only if the window speaks for it.
        has_long=(m > 1) & (n >= (CYCLES + 1) * m) & (long <= seasonal),
    )


def _sequence(values: Tensor, place: Tensor, n: Tensor, m: Tensor, scales: _Scales) -> Tensor:
    """What the LSTM reads, (B, L, 6): the points, two differences, and where in the season they are."""
    window, unit = _at(values, place), _nonzero(scales.unit)
    by_season = torch.where(place >= m, window - _at(values, place - m), 0.0)
    angle = (place - n + 1) * (2 * math.pi / m)
    season = (m > 1).double()
    features = [
        (window - scales.mean) / _nonzero(scales.deviation),
        torch.asinh((window - _at(values, place - 1)) / unit),
        torch.asinh(by_season / unit),
        angle.sin() * season,
        angle.cos() * season,
        season.expand_as(angle),
    ]
    return torch.where((place < n)[:, :, None], torch.stack(features, dim=-1), 0.0)


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


def _time(ahead: Tensor, m: Tensor) -> Tensor:
    """Where each step lies, (B, H, 5): how far ahead, and where in the season."""
    angle = ahead * (2 * math.pi / m)
    season = (m > 1).double()
    features = [
        ahead / 48,
        ahead.double().log() / 4,
        angle.sin() * season,
        angle.cos() * season,
        (ahead / m).log1p(),
    ]
    return torch.stack(features, dim=-1)


def _simple_forecasts(
    values: Tensor, n: Tensor, m: Tensor, ahead: Tensor, drift: Tensor
) -> tuple[Tensor, Tensor]:
    """The seasonal naive forecast (B, H) and, as distances from it, the forecasts to mix (B, H, 9).

    In order: the seasonal naive itself; the last value; the mean of the last seasons; the same at the level
    of the last point; the same with the window's drift; the seasonal naive at the level of the last point;
    the seasonal naive with the drift; the season a week ago; the same at the level of today.
    """
    cycles = (ahead + m - 1) // m
    place = n - 1 + ahead - cycles * m
    base = _at(values, place)
    last = _at(values, n - 1)
    mean, age = _season_mean(values, place, m)
    surprise = last - _season_mean(values, n - 1, m)[0]
    week = CYCLES * m
    week_ago = _at(values, n - 1 + ahead - (ahead + week - 1) // week * week)
    total = torch.nn.functional.pad(values.cumsum(1), (1, 0))
    today = _at(total, n) - _at(total, n - m)
    then = _at(total, n - week) - _at(total, n - week - m)
    forecasts = [
        torch.zeros_like(base),
        last - base,
        mean - base,
        mean + surprise - base,
        mean + drift * (cycles + age) - base,
        (last - _at(values, n - 1 - m)).expand_as(base),
        drift * cycles,
        week_ago - base,
        week_ago + (today - then) / m - base,
    ]
    return base, torch.stack(forecasts, dim=-1)


def _season_mean(values: Tensor, place: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the points at `place` and up to six seasons before it, and how many seasons old it is."""
    back = torch.arange(CYCLES, device=values.device)
    places = place[:, :, None] - back * m[:, :, None]
    points = _at(values, places.flatten(1)).view_as(places)
    seen = (places >= 0) | (back == 0)
    count = seen.sum(-1)
    return torch.where(seen, points, 0.0).sum(-1) / count, (seen * back).sum(-1) / count


def _at(values: Tensor, place: Tensor) -> Tensor:
    """Gather by place; what lies outside becomes the nearest edge and is masked by the caller."""
    return values.gather(1, place.clamp(0, values.shape[1] - 1))


def _mean(values: Tensor, seen: Tensor) -> Tensor:
    """Mean over the seen places, (B, 1); 0 where none is."""
    return torch.where(seen, values, 0.0).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)


def _nonzero(scale: Tensor) -> Tensor:
    """For dividing by: a scale of 0 belongs to a window that does not move, and 0 / 1 is right for it."""
    return torch.where(scale > 0, scale, 1.0)


def _log_ratio(a: Tensor, b: Tensor) -> Tensor:
    return (a / b).clamp(TINY, 1 / TINY).log()
