"""Reads the M4 competition's training files and holds out the end of each series.

Source: Makridakis, Spiliotis and Assimakopoulos, "The M4 Competition: 100,000 time series and 61 forecasting
methods", Int. J. Forecasting 36 (2020).
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Frequency:
    """One of the competition's frequencies.

    Attributes:
        name: as in the file names.
        season: points in a season, as the competition's measures take it.
        horizon: how many points are forecast, and held out.
    """

    name: str
    season: int
    horizon: int


HOURLY = Frequency(name="Hourly", season=24, horizon=48)
WEEKLY = Frequency(name="Weekly", season=1, horizon=13)
FREQUENCIES = (HOURLY, WEEKLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One series: what may be trained on, and the held-out points after it. float64, oldest first."""

    train: NDArray[np.float64]
    held_out: NDArray[np.float64]


def read_splits(folder: Path, frequency: Frequency, drop_blocks: int = 0) -> list[Split]:
    """Read all series of one frequency and hold out the last `horizon` points of each.

    Args:
        folder: holds `Hourly-train.csv.gz` and `Weekly-train.csv.gz`.
        frequency: which file.
        drop_blocks: forget this many times `horizon` points at the end first. With 1, the points held out
            are the ones before the real hold-out: for trying things without looking at it. With -1 nothing
            is held out.
    """
    with gzip.open(folder / f"{frequency.name}-train.csv.gz", "rt", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        series = [np.array([float(cell) for cell in row[1:] if cell]) for row in rows]
    splits = []
    for points in series:
        end = len(points) - drop_blocks * frequency.horizon
        cut = end - frequency.horizon
        splits.append(Split(train=points[:cut], held_out=points[cut:end]))
    return splits
