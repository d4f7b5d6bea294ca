"""Simple forecasts for a whole batch: what the network mixes, and how well each of them did lately.

Every series has two rhythms: a **season** of m points and a **long season** above it (a day and a week of
hours; one week and the 52 of a year). All forecasts are given as distances from the first, the seasonal
naive one. Without a season m is 1, and the seasonal naive forecast is the last value.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# Means over seasons and over long seasons look this many of them back.
CYCLES = 7
LONG_CYCLES = 4
# In the mean that favours what is recent, each season counts this much of the one after it.
FADING = 0.6
# Trends are measured over this many seasons.
TREND_SPANS = (4, 13, 52)
# The mean of seasons goes on with the trend over so many, or as many as there are.
MEAN_SPAN = 13
# The level of a long season ago is a mean of a season, or of five points around that moment.
BEFORE, AFTER = 3, 2
# How many past moments the forecasts are tried at, and at how many steps from each.
ORIGINS = 8
TRIED_STEPS = 12
BY_SEASON = 9 + len(TREND_SPANS)
SIMPLE_FORECASTS = BY_SEASON + 8


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A padded batch of series, with sums for quick means.

    Attributes:
        values: (B, T) float64, padded on the right with anything finite.
        total: (B, T + 1) float64, the sum of the first i values.
    """

    values: Tensor
    total: Tensor

    @classmethod
    def of(cls, values: Tensor) -> History:
        """Prepare a batch."""
        return cls(values=values, total=functional.pad(values.cumsum(1), (1, 0)))

    def at(self, place: Tensor) -> Tensor:
        """Values at `place` (B, ...); what lies outside becomes the nearest edge, and the caller masks it."""
        return _take(self.values, place)

    def mean(self, start: Tensor, end: Tensor) -> Tensor:
        """Means over the places `start` to `end`, exclusive; cut off at the beginning of the series."""
        start = start.clamp(min=0)
        return (_take(self.total, end) - _take(self.total, start)) / (end - start).clamp(min=1)


def _take(table: Tensor, place: Tensor) -> Tensor:
    flat = place.clamp(0, table.shape[1] - 1).flatten(1)
    return table.gather(1, flat).view(place.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """From where forecasts are made: O moments in each of B series.

    Attributes:
        n: (B, O, 1) int64, how many points are known at each moment.
        m: (B, 1, 1) int64, points in a season, 1 for none.
        long: (B, 1, 1) int64, points in a long season.
    """

    n: Tensor
    m: Tensor
    long: Tensor


def simple_forecasts(history: History, when: Moments, ahead: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Forecast from one or several moments of each series.

    Args:
        history: the series.
        when: the moments.
        ahead: (B, 1, H) int64, steps ahead.

    Returns:
        The seasonal naive forecast (B, O, H); all forecasts as distances from it (B, O, H, 20), 0 where there
        are not enough points; and for which there are (B, O, 20).
    """
    base, by_season, enough = _by_season(history, when, ahead)
    by_long, long_enough = _by_long_season(history, when, ahead)
    forecasts = torch.stack([*by_season, *(answer - base for answer in by_long)], dim=-1)
    usable = torch.cat([*enough, *long_enough], dim=-1)
    return base, torch.where(usable[:, :, None], forecasts, 0.0), usable


def _by_season(history: History, when: Moments, ahead: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The seasonal naive forecast, and as distances from it what the last seasons and points say.

    In order: the seasonal naive itself; the last value; the mean of seven seasons, as it is and at the level
    of the last point; the same of a mean that favours recent ones; the mean, but within what the last three
    seasons had; the mean with a trend; the seasonal naive at the level of the last point; three trends.
    """
    n, m = when.n, when.m
    cycles = (ahead + m - 1) // m
    points, seen = _seasons_back(history, n - 1 + ahead - cycles * m, m)
    own_points, own_seen = _seasons_back(history, n - 1, m)
    last, base = history.at(n - 1), points[..., 0]
    mean, age = _mean(points, seen)
    recent, _ = _mean(points, seen, FADING)
    surprise = last - _mean(own_points, own_seen)[0]
    recent_surprise = last - _mean(own_points, own_seen, FADING)[0]
    within = torch.minimum(torch.maximum(mean, points[..., :3].amin(-1)), points[..., :3].amax(-1))
    forecasts = [
        torch.zeros_like(base),
        last - base,
        mean - base,
        mean + surprise - base,
        recent - base,
        recent + recent_surprise - base,
        within - base,
        mean + (age + cycles) * m * _trend(history, n, m, (n // m - 1).clamp(1, MEAN_SPAN)) - base,
        (last - history.at(n - 1 - m)).expand_as(base),
        *(_trend(history, n, m, span) * ahead for span in TREND_SPANS),
    ]
    always = n >= 1
    return base, forecasts, [always] * 9 + [n >= (span + 1) * m for span in TREND_SPANS]


def _by_long_season(history: History, when: Moments, ahead: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What the long seasons say: the last one, and the mean of the last four.

    In order, each of the two: as it is; moved to today's level, by what the level was then; moved likewise,
    by a smoother level; stretched to today's level, by the smoother one.
    """
    n, m, long = when.n[..., None], when.m[..., None], when.long[..., None]
    ahead = ahead[..., None]
    back = (ahead + long - 1) // long - 1 + torch.arange(1, LONG_CYCLES + 1, device=n.device)
    moment = n - back * long
    points = history.at(moment - 1 + ahead)
    shortest = m.clamp(min=BEFORE)
    seen = moment >= shortest
    # The last one always counts, with the earliest level there is: a far step may go back further than that.
    seen = torch.cat([torch.ones_like(seen[..., :1]), seen[..., 1:]], dim=-1)
    moment = torch.maximum(moment, shortest)
    level = history.mean(moment - m, moment)
    smooth = torch.where(m > 1, level, history.mean(moment - BEFORE, moment + AFTER))
    today = history.mean(n - m, n)[..., 0]
    change, smooth_change = points - level, points - smooth
    # A level near zero stretches nothing.
    ratio = torch.where(smooth.abs() > 1e-9, points / smooth, 1.0).clamp(0.2, 5.0)

    def mean(what: Tensor) -> Tensor:
        return torch.where(seen, what, 0.0).sum(-1) / seen.sum(-1)

    forecasts = [
        points[..., 0],
        mean(points),
        today + change[..., 0],
        today + mean(change),
        today + smooth_change[..., 0],
        today + mean(smooth_change),
        today * ratio[..., 0],
        today * mean(ratio),
    ]
    return forecasts, [when.n >= when.long + shortest[..., 0]] * len(forecasts)


def _seasons_back(history: History, place: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    """The points at `place` and up to six seasons before it, in a new last axis, and which there are."""
    back = torch.arange(CYCLES, device=place.device)
    places = place[..., None] - back * m[..., None]
    return history.at(places), (places >= 0) | (back == 0)


def _mean(points: Tensor, seen: Tensor, fading: float = 1.0) -> tuple[Tensor, Tensor]:
    """Mean over the seasons that are seen, and how many seasons old it is."""
    back = torch.arange(CYCLES, device=points.device)
    weight = seen * fading ** back.double()
    weight = weight / weight.sum(-1, keepdim=True)
    return (weight * points).sum(-1), (weight * back).sum(-1)


def _trend(history: History, n: Tensor, m: Tensor, span: int | Tensor) -> Tensor:
    """Mean change per point over the last `span` seasons, (B, O, 1)."""
    now = history.mean(n - m, n)
    then = history.mean(n - (span + 1) * m, n - span * m)
    return (now - then) / (span * m)


def track_record(
    history: History, n: Tensor, m: Tensor, long: Tensor, unit: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Try the simple forecasts at past moments of each series.

    Args:
        history: the series.
        n: (B, 1) int64, points in each.
        m: (B, 1) int64, points in a season.
        long: (B, 1) int64, points in a long season.
        unit: (B, 1) float64, in which errors are measured; not 0.

    Returns:
        For each series the log of each forecast's mean absolute error over that of the seasonal naive at the
        same moments (B, 20), 0 where it could not be tried; whether it could (B, 20); and the log of the
        seasonal naive's own error in units (B, 1).
    """
    # At least twelve points apart, and whole seasons, so that every moment has the phase of now.
    gap = m * ((TRIED_STEPS + m - 1) // m)
    moments = (n - gap * torch.arange(1, ORIGINS + 1, device=n.device))[:, :, None]
    ahead = (torch.arange(1, TRIED_STEPS + 1, device=n.device) * gap // TRIED_STEPS)[:, None]
    when = Moments(n=moments, m=m[:, None], long=long[:, None])
    base, forecasts, usable = simple_forecasts(history, when, ahead)
    known = usable & (moments >= (when.m + 1).clamp(min=4))
    missed = history.at(moments - 1 + ahead) - base
    # Beyond a thousand units it does not matter how wrong a forecast was.
    errors = ((missed[..., None] - forecasts) / unit[:, :, None, None]).abs().clamp(max=1e3).mean(2)
    own = torch.where(known, errors, 0.0).sum(1)
    naive = torch.where(known, errors[..., :1], 0.0).sum(1)
    count = known[..., 0].sum(1, keepdim=True)
    general = torch.where(count > 0, (naive[:, :1] / count.clamp(min=1) + 1e-3).log(), 0.0)
    return ((own + 1e-3) / (naive + 1e-3)).log().clamp(-4, 4), known.any(1), general
