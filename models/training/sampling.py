"""Draws training windows: from M4 series, from coarser copies of them, and from made-up series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.nets.season import check_season
from models.training.m4 import HOURLY, WEEKLY, read_splits

Array = NDArray[np.float64]
SHORTEST = 4
# Shares of a batch: hourly series, coarser copies of them, weekly series, coarser copies of them, made up.
SHARES = (0.28, 0.10, 0.42, 0.04, 0.16)
# The same for the shortest windows. Too short for a day, hourly series show a steadiness that others do not
# have, and nothing tells them apart: the network must not learn to expect it of all.
SHORT_SHARES = (0.12, 0.06, 0.64, 0.04, 0.14)
SHORT = 36
HIDE_SEASON = 0.1
# So many batches hold windows of up to so many points: most callers give all they have.
LONG_SHARE, LONGEST = 0.6, 1000
# Later windows are drawn more often: the future is more like them.
LATENESS = 2.0
# Steps that count in full where there is no season: those which the competition asks of weekly series.
FULL_STEPS = 13
# About what Naive2 scores, so that both halves of the loss weigh the same.
TYPICAL_MASE, TYPICAL_SMAPE = 2.4, 0.13
HIGHEST_WEIGHT = 4.0
LEAST_ERROR = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A series to draw windows from.

    Attributes:
        points: its training part.
        season: points in a season, 1 for none.
        error: the mean absolute error of the seasonal naive forecast over all of `points`, or 2 % of their
            standard deviation, whichever is larger.
    """

    points: Array
    season: int
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Windows and what came after them, each at about unit size.

    Attributes:
        values: (B, T) float64, padded on the right.
        lengths: (B,) int64.
        seasons: (B,) int64.
        targets: (B, H) float64.
        known: (B, H) bool, False beyond the end of the series.
        importance: (B, H) float64, what an absolute error of 1 costs.
    """

    values: Tensor
    lengths: Tensor
    seasons: Tensor
    targets: Tensor
    known: Tensor
    importance: Tensor


def make_source(points: Array, season: int) -> Source | None:
    """A source, or None if the series is too short or does not move."""
    if len(points) < max(2 * SHORTEST, season + SHORTEST):
        return None
    error = np.mean(np.abs(points[season:] - points[:-season]))
    # A series that repeats itself to the last digit must not outweigh all others.
    error = max(error, LEAST_ERROR * points.std())
    return Source(points=points, season=season, error=float(error)) if error > 0 else None


def read_sources(folder: Path, drop_blocks: int) -> list[list[Source]]:
    """The four pools of `SHARES` that are made of data. Held-out points are not in them."""
    pools: list[list[Source | None]] = [[], [], [], []]
    for split in read_splits(folder, HOURLY, drop_blocks):
        pools[0].append(_as_served(make_source(split.train, HOURLY.season)))
        # Means over 2 to 12 hours keep the rhythm of the day and the week at other season lengths.
        for size in (2, 3, 4, 6, 8, 12):
            pools[1].append(make_source(_coarser(split.train, size), HOURLY.season // size))
    for split in read_splits(folder, WEEKLY, drop_blocks):
        pools[2].append(make_source(split.train, WEEKLY.season))
        # A quarter has about 13 weeks, a year as many times four.
        pools[3].append(make_source(_coarser(split.train, 4), 13))
        pools[3].append(make_source(_coarser(split.train, 4), 1))
    return [[source for source in pool if source] for pool in pools]


def _as_served(source: Source | None) -> Source | None:
    """Some hourly series repeat themselves after 23 points: the model goes by that, the scores by 24."""
    if source is None:
        return None
    points = source.points / np.abs(source.points).max()
    return replace(source, season=check_season(points, source.season))


def _coarser(points: Array, size: int) -> Array:
    whole = len(points) // size * size
    return points[len(points) - whole :].reshape(-1, size).mean(axis=1)


class Sampler:
    """Endless batches, the same ones for the same seed."""

    def __init__(self, pools: Sequence[Sequence[Source]], *, context: int, block: int, seed: int) -> None:
        self._pools = pools
        self._context = context
        self._block = block
        self._random = np.random.default_rng(seed)

    @property
    def state(self) -> dict[str, Any]:
        """What the next batches depend on."""
        return dict(self._random.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._random.bit_generator.state = state

    def draw(self, size: int) -> Batch:
        """Draw `size` windows: in most batches long ones, in the others of similar lengths from 4 up."""
        random = self._random
        if random.random() < LONG_SHARE:
            limits = (self._context, LONGEST)
        else:
            top = np.exp(random.uniform(np.log(2 * SHORTEST), np.log(self._context)))
            limits = (max(SHORTEST, int(0.5 * top)), int(top))
        shares = SHORT_SHARES if limits[1] < SHORT else SHARES
        windows = [self._window(*limits, shares) for _ in range(size)]
        lengths = [len(past) for past, *_ in windows]
        values = np.zeros((size, max(lengths)))
        targets = np.zeros((size, self._block))
        known = np.zeros((size, self._block), dtype=bool)
        importance = np.zeros((size, self._block))
        # Without a season errors grow with the root of the distance: near steps must not drown in the far.
        fading = np.minimum(1, FULL_STEPS / np.arange(1, self._block + 1))
        seasons = []
        for row, (past, future, season, error) in enumerate(windows):
            scale = np.abs(past).max() or 1.0
            values[row, : len(past)] = past / scale
            targets[row, : len(future)] = future / scale
            known[row, : len(future)] = True
            level = max(np.abs(future).mean(), 0.02 * np.abs(past).mean(), 1e-9)
            cost = scale / 2 * (1 / (TYPICAL_MASE * error) + 1 / (TYPICAL_SMAPE * level))
            importance[row] = cost * (fading if season == 1 else 1)
            seasons.append(season)
        return Batch(
            values=torch.from_numpy(values),
            lengths=torch.tensor(lengths),
            seasons=torch.tensor(seasons),
            targets=torch.from_numpy(targets),
            known=torch.from_numpy(known),
            importance=torch.from_numpy(importance),
        )

    def _window(
        self, shortest: int, longest: int, shares: Sequence[float]
    ) -> tuple[Array, Array, int, float]:
        """What was seen, what came next, the season to tell the network, the source's error."""
        random = self._random
        pool = random.choice(len(shares), p=shares)
        length = int(random.integers(shortest, longest + 1))
        if pool == len(self._pools):
            source = made_up(random, length + self._block)
        else:
            source = self._pools[pool][random.integers(len(self._pools[pool]))]
        points = source.points
        # All that counts in full where the series allows it, at least a few points where it does not.
        ahead = self._block if source.season > 1 else FULL_STEPS
        ahead = ahead if len(points) >= 3 * ahead else SHORTEST
        length = min(length, len(points) - ahead)
        free = len(points) - ahead - length
        end = length + int(random.random() ** (1 / (1 + LATENESS)) * (free + 1))
        season = source.season
        if length < 1.5 * season or random.random() < HIDE_SEASON:
            season = 1
        return points[end - length : end], points[end : end + self._block], season, source.error


def made_up(random: np.random.Generator, count: int) -> Source:
    """A series of trend, season, random walk and noise in random shares, some of them none."""
    season = int(random.integers(2, 61)) if random.random() < 0.7 else 1
    season = season if count > 2 * season else 1
    time = np.arange(count)
    series = np.full(count, random.choice([0.0, 3.0, 10.0, 100.0]))
    if random.random() < 0.6:
        series = series + random.normal() * random.choice([1.0, 4.0]) * time / count
    if season > 1:
        shape = sum(
            random.normal() / order * np.sin(2 * np.pi * order * time / season + random.uniform(0, 7))
            for order in range(1, int(random.integers(2, 5)))
        )
        growth = 1 + random.uniform(-0.5, 1.0) * (random.random() < 0.3) * time / count
        series = series + shape * growth
    if random.random() < 0.5:
        series = series + random.uniform(0.01, 0.3) * random.normal(size=count).cumsum()
    if random.random() < 0.75:
        series = series + random.choice([0.02, 0.1, 0.3]) * random.normal(size=count)
    if random.random() < 0.1:
        series = series + random.normal() * 2 * (time > random.integers(count))
    return make_source(series, season) or Source(points=series, season=season, error=1.0)
