"""What simulated devices measure: seeded, endless, and with anomalies that are known.

A series is a level, a trend, a slow drift, a part that recurs, and noise. Shapes are those of real telemetry;
the numbers are nobody's. Noise and disturbances are drawn from streams of their own, so that a device without
anomalies measures what it measures with them, but for the points that are labelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from satellite.errors import ConfigError

Floats = NDArray[np.float64]
Kinds = NDArray[np.uint8]

# Points are made so many at a time; a disturbance lies within one block.
BLOCK = 1024
DECIMALS = 4
# All devices began at this moment (2026-01-01T00:00:00Z), whenever they are simulated.
EPOCH_S = 1_767_225_600.0

MINUTE_S = 60.0
HOUR_S = 3600.0
# A low orbit in minutes, and the share of it in sunlight.
ORBIT = 95
SUNLIT = 0.63
PASS = 0.12  # the share of an orbit in which a ground station hears the satellite
ORBITS_A_DAY = 15


class Kind(IntEnum):
    """What a point is: usual, or part of an anomaly."""

    USUAL = 0
    SPIKE = 1
    LEVEL_SHIFT = 2
    DRIFT = 3
    FLAT_LINE = 4
    MISSING_SEASON = 5

    @property
    def label(self) -> str:
        """Its name in files; nothing for what is usual."""
        return self.name.lower() if self else ""


# The shortest and longest of each, in points.
LENGTHS = {
    Kind.SPIKE: (1, 3),
    Kind.LEVEL_SHIFT: (12, 48),
    Kind.DRIFT: (24, 72),
    Kind.FLAT_LINE: (12, 36),
    Kind.MISSING_SEASON: (48, 96),
}
GAP = (3, 12)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """What one kind of device measures."""

    name: str
    unit: str
    step_s: float  # between two points
    period: int  # points after which it repeats itself
    level: float
    shape: Callable[[Floats], Floats]  # the recurring part at these times, in points
    noise: float  # standard deviation
    trend: float = 0.0  # by each point
    drift: float = 0.0  # standard deviation of the steps of a slow random walk

    @cached_property
    def spread(self) -> float:
        """The standard deviation of the recurring part: how large an anomaly is goes by it."""
        return float(np.std(self._shown))

    @cached_property
    def middle(self) -> float:
        """The mean of the recurring part."""
        return float(np.mean(self._shown))

    @cached_property
    def _shown(self) -> Floats:
        return self.shape(np.arange(16.0 * self.period))


def _sensor(at: Floats) -> Floats:
    return 5 * np.sin(2 * np.pi * at / 24) + 2 * np.sin(2 * np.pi * at / 168)


def _lag(at: Floats, rise: float, fall: float) -> Floats:
    """What follows the sun with a delay, from 0 to 1: it nears 1 in sunlight, and 0 in eclipse.

    Args:
        at: times in minutes.
        rise: time constant in sunlight, in orbits.
        fall: time constant in eclipse, in orbits.
    """
    phase = at / ORBIT % 1
    up, down = np.exp(-SUNLIT / rise), np.exp(-(1 - SUNLIT) / fall)
    top = (1 - up) / (1 - up * down)  # so that an orbit ends where it began
    sunlit = 1 - (1 - top * down) * np.exp(-phase / rise)
    eclipse = top * np.exp(-(phase - SUNLIT) / fall)
    return np.where(phase < SUNLIT, sunlit, eclipse)


def _battery(at: Floats) -> Floats:
    return 5.0 * _lag(at, rise=0.25, fall=0.6)


def _temperature(at: Floats) -> Floats:
    return 45.0 * _lag(at, rise=0.4, fall=0.35)


def _attitude(at: Floats) -> Floats:
    """The angle of the rotation between where a satellite points and where it should, in degrees.

    Roll, pitch and yaw swing about zero; the angle is that of their quaternion.
    """
    orbits = 2 * np.pi * at / ORBIT
    roll, pitch, yaw = (
        np.radians(swing) / 2
        for swing in (1.2 * np.sin(orbits), 0.8 * np.cos(2 * orbits), 0.5 * np.sin(orbits + 1))
    )
    scalar = np.cos(roll) * np.cos(pitch) * np.cos(yaw) + np.sin(roll) * np.sin(pitch) * np.sin(yaw)
    return np.degrees(2 * np.arccos(np.clip(np.abs(scalar), 0, 1)))


def _signal(at: Floats) -> Floats:
    """Decibels above the noise floor: one pass an orbit, higher in the sky at some times of the day."""
    from_middle = at / ORBIT % 1 - 0.5
    highest = 28 + 12 * np.sin(2 * np.pi * at / (ORBIT * ORBITS_A_DAY))
    return highest * np.where(np.abs(from_middle) < PASS / 2, np.cos(np.pi * from_middle / PASS), 0)


_ALL = (
    Channel(
        name="sensor", unit="1", step_s=HOUR_S, period=24, level=50.0, shape=_sensor,
        noise=0.6, trend=0.002, drift=0.05,
    ),
    Channel(
        name="battery_voltage", unit="V", step_s=MINUTE_S, period=ORBIT, level=24.0, shape=_battery,
        noise=0.03, trend=-0.00002, drift=0.002,
    ),
    Channel(
        name="temperature", unit="degC", step_s=MINUTE_S, period=ORBIT, level=-15.0, shape=_temperature,
        noise=0.3, drift=0.02,
    ),
    Channel(
        name="attitude_error", unit="deg", step_s=MINUTE_S, period=ORBIT, level=0.0, shape=_attitude,
        noise=0.02,
    ),
    Channel(
        name="signal_strength", unit="dBm", step_s=MINUTE_S, period=ORBIT, level=-120.0, shape=_signal,
        noise=0.8,
    ),
)  # fmt: skip
CHANNELS = {channel.name: channel for channel in _ALL}


def find_channel(name: str) -> Channel:
    """The channel of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in CHANNELS:
        raise ConfigError(f"there is no channel {name!r}; there are: {', '.join(CHANNELS)}")
    return CHANNELS[name]


def _places(rng: np.random.Generator, a_block: float) -> list[tuple[slice, Kind]]:
    """Where anomalies may lie in a block, and of which kinds."""
    places: list[tuple[slice, Kind]] = []
    for _ in range(rng.poisson(a_block)):
        kind = Kind(int(rng.integers(1, len(Kind))))
        length = int(rng.integers(*LENGTHS[kind], endpoint=True))
        start = int(rng.integers(BLOCK - length))
        places.append((slice(start, start + length), kind))
    return places


class Device:
    """One device: an endless series, read from its beginning on.

    Args:
        number: which of the devices; each has its own phase, level and noise.
        channel: what it measures.
        seed: with the same seed the same device measures the same.
        anomaly_every: points between two anomalies, on average; 0: there are none.
        gap_every: points between two gaps, on average; 0: there are none.
    """

    def __init__(
        self, number: int, channel: Channel, *, seed: int, anomaly_every: float = 0, gap_every: float = 0
    ) -> None:
        self.name = f"{channel.name}-{number:04d}"
        self.channel = channel
        self._anomalies_a_block = BLOCK / anomaly_every if anomaly_every else 0.0
        self._gaps_a_block = BLOCK / gap_every if gap_every else 0.0
        self._noise = np.random.default_rng([seed, number, 0])
        self._events = np.random.default_rng([seed, number, 1])
        self._gaps = np.random.default_rng([seed, number, 2])
        self._phase = self._noise.uniform(0, channel.period)
        self._level = channel.level + 0.2 * channel.spread * self._noise.standard_normal()
        self._drifted = 0.0
        self._first = 0  # what is kept begins here
        self._values: Floats = np.empty(0)
        self._kinds: Kinds = np.empty(0, np.uint8)

    def read(self, begin: int, count: int) -> tuple[Floats, Kinds]:
        """Points, and what each of them is. A gap is NaN.

        Args:
            begin: the first point; never before that of an earlier call, as what lies before is forgotten.
            count: how many.
        """
        while self._first + len(self._values) < begin + count:
            values, kinds = self._block(self._first + len(self._values))
            keep = max(0, min(begin - self._first, len(self._values)))
            self._first += keep
            self._values = np.concatenate([self._values[keep:], values])
            self._kinds = np.concatenate([self._kinds[keep:], kinds])
        part = slice(begin - self._first, begin - self._first + count)
        return self._values[part], self._kinds[part]

    def _block(self, begin: int) -> tuple[Floats, Kinds]:
        channel, rng = self.channel, self._noise
        at = np.arange(begin, begin + BLOCK, dtype=np.float64)
        walk = self._drifted + np.cumsum(channel.drift * rng.standard_normal(BLOCK))
        self._drifted = float(walk[-1])
        base = self._level + channel.trend * at + walk
        season = channel.shape(at + self._phase)
        noise = channel.noise * rng.standard_normal(BLOCK)
        values = base + season + noise
        kinds = np.zeros(BLOCK, np.uint8)
        for part, kind in _places(self._events, self._anomalies_a_block):
            if not kinds[part].any():
                kinds[part] = kind
                self._disturb(values, part, kind, base + channel.middle + noise)
        for _ in range(self._gaps.poisson(self._gaps_a_block)):
            length = int(self._gaps.integers(GAP[0], GAP[1], endpoint=True))
            start = int(self._gaps.integers(BLOCK - length))
            values[start : start + length] = np.nan
        return np.round(values, DECIMALS), kinds

    def _disturb(self, values: Floats, part: slice, kind: Kind, without_season: Floats) -> None:
        """Turns a part of the values into an anomaly."""
        size = max(self.channel.spread, 3 * self.channel.noise)
        sign = self._events.choice([-1.0, 1.0])
        length = part.stop - part.start
        match kind:
            case Kind.SPIKE:
                values[part] += sign * size * self._events.uniform(4, 8)
            case Kind.LEVEL_SHIFT:
                values[part] += sign * size * self._events.uniform(2, 4)
            case Kind.DRIFT:
                values[part] += sign * size * np.linspace(0.1, 3, length)
            case Kind.FLAT_LINE:
                values[part] = values[part.start]
            case _:
                values[part] = without_season[part]
