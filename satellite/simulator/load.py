"""When requests are due: arrival processes, as seconds since the beginning, rising."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import count, islice, takewhile

import numpy as np

from satellite.errors import ConfigError

_UNITS_S = {"s": 1, "sec": 1, "second": 1, "min": 60, "m": 60, "minute": 60, "h": 3600, "hour": 3600}
# How much more than on average comes at noon, and how much less at midnight.
DAY_SWING = 0.9


class Shape(StrEnum):
    """How requests are spread over time. All shapes have the same mean rate."""

    CONSTANT = "constant"  # evenly
    POISSON = "poisson"  # each independent of all others
    BURST = "burst"  # many at once, then none
    DAILY = "daily"  # Poisson, with a night and a noon


def parse_rate(text: str) -> float:
    """Requests a second, from `50`, `50/s`, `1/min` or `90/h`.

    Raises:
        ConfigError: it is no rate above 0.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:/\s*([a-z]+))?\s*", text)
    unit_s = _UNITS_S.get(found[2] or "s") if found else None
    if not found or unit_s is None or not float(found[1]) > 0:
        raise ConfigError(f"--rate {text!r}: give a number above 0, such as 50, 50/s, 1/min or 90/h")
    return float(found[1]) / unit_s


def arrivals(
    shape: Shape, rate: float, rng: np.random.Generator, *, burst: int = 50, day_s: float = 60
) -> Iterator[float]:
    """Times without end.

    Args:
        shape: how they are spread.
        rate: how many a second, on average.
        rng: chance.
        burst: requests of a burst.
        day_s: seconds that a day takes; it begins at midnight.
    """
    match shape:
        case Shape.CONSTANT:
            return (number / rate for number in count())
        case Shape.POISSON:
            return _poisson(rate, rng)
        case Shape.BURST:
            return (number // burst * burst / rate for number in count())
        case Shape.DAILY:
            return _daily(rate, rng, day_s)


def bounded(times: Iterable[float], *, duration_s: float | None, count: int | None) -> Iterator[float]:
    """The times before `duration_s`, and no more than `count`; None: without that bound."""
    if duration_s is not None:
        times = takewhile(lambda time: time < duration_s, times)
    return islice(times, count)


def _poisson(rate: float, rng: np.random.Generator) -> Iterator[float]:
    time = 0.0
    while True:
        time += rng.exponential(1 / rate)
        yield time


def _daily(rate: float, rng: np.random.Generator, day_s: float) -> Iterator[float]:
    """A Poisson process whose rate changes, by thinning one that is as fast as noon."""
    for time in _poisson(rate * (1 + DAY_SWING), rng):
        now = 1 - DAY_SWING * np.cos(2 * np.pi * time / day_s)
        if rng.uniform(0, 1 + DAY_SWING) < now:
            yield time
