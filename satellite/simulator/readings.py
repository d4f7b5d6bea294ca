"""Readings: the last points of a device, which are one request, and what comes after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from satellite.simulator.series import EPOCH_S, Channel, Device, Floats, Kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a device sends at one time.

    Attributes:
        device: its name.
        channel: what it measures.
        times_s: of each point, in seconds since 1970.
        values: as they were measured; NaN in a gap.
        kinds: what each point is: see `series.Kind`.
        truth: the values that come next, which the device knows only later; NaN where there are none.
        fresh: so many of the last points are new since the device's last reading.
    """

    device: str
    channel: str
    times_s: Floats
    values: Floats
    kinds: Kinds
    truth: Floats
    fresh: int

    @property
    def missing(self) -> int:
        """Points in gaps."""
        return int(np.isnan(self.values).sum())

    def points(self) -> list[float]:
        """The values as they are sent. JSON has no NaN, models want even steps: a gap is a straight line."""
        gaps = np.isnan(self.values)
        if not gaps.any():
            return self.values.tolist()
        places = np.arange(len(self.values))
        filled = np.interp(places, places[~gaps], self.values[~gaps])
        return np.round(filled, 4).tolist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How series are cut into readings.

    Attributes:
        points: of a reading.
        stride: points by which the next reading of a device is later.
        horizon: points after a reading that its forecast is compared with.
    """

    points: int
    stride: int
    horizon: int


class Fleet:
    """Many devices that take turns.

    Args:
        channels: what they measure; each device the next of them.
        devices: how many.
        cut: how long the readings are.
        seed, anomaly_every, gap_every: see `Device`.
    """

    def __init__(
        self,
        channels: list[Channel],
        *,
        devices: int,
        cut: Cut,
        seed: int,
        anomaly_every: float,
        gap_every: float,
    ) -> None:
        self._cut = cut
        self.devices = [
            Device(
                number,
                channels[number % len(channels)],
                seed=seed,
                anomaly_every=anomaly_every,
                gap_every=gap_every,
            )
            for number in range(devices)
        ]

    def readings(self) -> Iterator[Reading]:
        """Readings without end: the first of each device, the second of each, and so on."""
        cut, turn = self._cut, 0
        while True:
            for device in self.devices:
                begin = turn * cut.stride
                values, kinds = device.read(begin, cut.points + cut.horizon)
                step_s = device.channel.step_s
                yield Reading(
                    device=device.name,
                    channel=device.channel.name,
                    times_s=EPOCH_S + step_s * np.arange(begin, begin + cut.points, dtype=np.float64),
                    values=values[: cut.points],
                    kinds=kinds[: cut.points],
                    truth=values[cut.points :],
                    fresh=min(cut.stride, cut.points) if turn else cut.points,
                )
            turn += 1
