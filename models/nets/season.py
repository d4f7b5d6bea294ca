"""The season length of a series: found from the series alone, or what the caller says, unless it is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Recent behaviour decides; older points only cost time.
LOOK_BACK = 1024
LONGEST = 366
# A season must be seen this often before it is believed.
CYCLES = 3
FEWEST_POINTS = 12
# How deep the dip at the season must be: 1 is an average lag, 0 is a perfect repetition.
DEPTH = 0.6
# A season this short has few shorter lags to stand out from: its dip must be deeper.
SHORT, SHORT_DEPTH = 6, 0.3
# How much deeper than at the season that the caller gives, for that to be a mistake: the series then repeats
# itself to the digit, only not after that many points.
MISTAKE = 0.1
# A season that has a shorter one inside: what a season of a year of weeks, or of a week of hours, stands for.
INSIDE = {52: 1, 168: 24}
# A season is used once half of it has been seen a second time.
MIN_CYCLES = 1.5
# A dip nearly as deep as the deepest wins if its lag is shorter: 24 before its multiple 48.
NEARLY = 0.25


def find_season(series: NDArray[np.float64]) -> int:
    """Guess how many points apart the series repeats itself.

    A straight line is taken out, then each lag is scored by the mean squared difference at that lag over the
    mean of the same at all shorter lags. A season is a deep, narrow dip of that score. A random walk
    differs more at every longer lag, so it has none; an autocorrelation would show it as all season.

    Args:
        series: shape (points,), float64, oldest first.

    Returns:
        The season length in points, 2 to 366; 1 if there is none to be seen.

    Source: the cumulative mean normalized difference of de Cheveigné and Kawahara, "YIN, a fundamental
    frequency estimator for speech and music", J. Acoust. Soc. Am. 111 (2002).
    """
    score = _score(series)
    return _first_dip(score, len(score) - 1) if score is not None else 1


def check_season(series: NDArray[np.float64], season: int) -> int:
    """The season to go by, where the caller gives one.

    Returns:
        `season`; 1 if the series is too short for it; another if the series plainly repeats itself after
        another number of points, of which the given one is no multiple.
    """
    shortest = INSIDE.get(season, season)
    if len(series) < MIN_CYCLES * shortest:
        return 1
    score = _score(series)
    if shortest == 1 or score is None or shortest >= len(score):
        return season
    found = _first_dip(score, len(score) - 1)
    plain = found > 1 and score[found - 1] < MISTAKE * score[shortest - 1]
    return found if plain and shortest % found and found % shortest else season


def _score(series: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """How much the series differs from itself at each lag, or None if it is too short or does not move.

    Returns:
        Entry i belongs to lag i + 1. There is one more than may win, so that the last candidate has a
        neighbour to be compared with.
    """
    series = series[-LOOK_BACK:]
    points = len(series)
    longest = min(LONGEST, points // CYCLES)
    if points < FEWEST_POINTS or longest < 2:
        return None
    time = np.arange(points) - (points - 1) / 2
    series = series - series.mean()
    series = series - time * (time @ series) / (time @ time)
    scale = np.abs(series).max()
    if scale < 1e-12:
        return None
    difference = _mean_squared_difference(series / scale, longest + 1)
    return difference / np.maximum(np.cumsum(difference) / np.arange(1, longest + 2), 1e-18)


def _mean_squared_difference(series: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """Mean of (x[t] - x[t-lag])**2 for lag 1 to `longest`, by one FFT rather than a pass per lag."""
    points = len(series)
    spectrum = np.fft.rfft(series, 2 * points)
    products = np.fft.irfft(spectrum * spectrum.conj(), 2 * points)[1 : longest + 1]
    lags = np.arange(1, longest + 1)
    squares = np.concatenate([[0.0], np.cumsum(series**2)])
    energy = squares[points - lags] + squares[points] - squares[lags]
    return np.maximum(energy - 2 * products, 0.0) / (points - lags)


def _first_dip(score: NDArray[np.float64], longest: int) -> int:
    """The shortest lag of 2 to `longest` whose dip is nearly the deepest; 1 if none is deep enough.

    Entry i of `score` belongs to lag i + 1; there is one more than `longest`.
    """
    middle = score[1:longest]
    dips = np.flatnonzero((middle < score[: longest - 1]) & (middle <= score[2 : longest + 1])) + 2
    dips = dips[score[dips - 1] < np.where(dips < SHORT, SHORT_DEPTH, DEPTH)]
    if not len(dips):
        return 1
    return int(dips[score[dips - 1] <= score[dips - 1].min() + NEARLY][0])
