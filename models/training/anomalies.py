"""Windows to train on, and damage to put into them: what is usual is known, so what is not can be made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.training.m4 import FREQUENCIES, read_splits

Array = NDArray[np.float64]
# Series are dealt out like cards: two of four to train on, one to choose the threshold, one to score.
TRAINED, CHOSEN, SCORED = (0, 1), (2,), (3,)
LONGEST = 1000
KINDS = ("spike", "shift", "flat", "noise", "mirror", "faster")


def read_series(folder: Path, part: tuple[int, ...], longest: int | None = None) -> list[Array]:
    """The M4 training series, hourly and weekly, of one part of the deal.

    Args:
        folder: holds `Hourly-train.csv.gz` and `Weekly-train.csv.gz`.
        part: `TRAINED`, `CHOSEN` or `SCORED`.
        longest: how many of the last points to keep.
    """
    found = []
    for frequency in FREQUENCIES:
        for place, split in enumerate(read_splits(folder, frequency)):
            points = np.concatenate([split.train, split.held_out])
            if place % 4 in part:
                found.append(points[-longest:] if longest else points)
    return found


def damage(
    random: np.random.Generator, series: Array, kind: str, start: int, length: int, unit: float
) -> NDArray[np.bool_]:
    """Put one anomaly into a series, in place.

    Args:
        random: decides sizes and signs.
        series: shape (points,).
        kind: one of `KINDS`.
        start: where it begins.
        length: points that it lasts; a spike may be shorter.
        unit: what is a usual distance between points of this series.

    Returns:
        Shape (points,), True where the series was changed.
    """
    before = series.copy()
    sign = random.choice([-1.0, 1.0])
    size = random.uniform(3, 10) * unit * sign
    part = slice(start, start + length)
    if kind == "spike":
        part = slice(start, start + int(random.integers(1, 4)))
        series[part] += 1.5 * size
    elif kind == "shift":
        series[part] += size
    elif kind == "flat":
        series[part] = series[start]
    elif kind == "noise":
        series[part] += random.normal(size=len(series[part])) * abs(size) / 2
    elif kind == "mirror":
        series[part] = 2 * np.median(series[part]) - series[part]
    else:
        # Twice as fast: the part and what follows it, squeezed together.
        twice = series[start : start + 2 * length : 2]
        series[start : start + len(twice)] = twice
    changed = series != before
    if kind != "spike" and changed.any():
        # One event, though single points of it may lie where they were.
        first, last = np.flatnonzero(changed)[[0, -1]]
        changed[first : last + 1] = True
    return changed


def put_anomalies_into(series: list[Array], seed: int) -> list[tuple[Array, NDArray[np.bool_]]]:
    """Copies of the series with one to three anomalies each, and which points these are."""
    random = np.random.default_rng(seed)
    damaged = []
    for points in series:
        copy = points / (np.abs(points).max() or 1.0)
        unit = 1.4826 * float(np.median(np.abs(np.diff(copy)))) or float(copy.std())
        labels = np.zeros(len(copy), dtype=bool)
        for _ in range(int(random.integers(1, 4))):
            length = int(random.integers(5, max(6, min(40, len(copy) // 10))))
            start = int(random.integers(0, len(copy) - 2 * length))
            labels |= damage(random, copy, random.choice(KINDS), start, length, unit)
        if labels.any() and not labels.all():
            damaged.append((copy, labels))
    return damaged
