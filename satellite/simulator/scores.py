"""How good answers were, once the truth has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from satellite.simulator.readings import Reading
from satellite.simulator.series import Floats


@dataclass(slots=True)
class ForecastScore:
    """The errors of forecasts of one channel, beside those of saying the last value again.

    Points in gaps do not count. Sums are over points.
    """

    forecasts: int = 0
    points: int = 0
    absolute: float = 0.0
    symmetric: float = 0.0
    absolute_last: float = 0.0
    symmetric_last: float = 0.0

    def add(self, reading: Reading, forecast: list[float]) -> None:
        """Takes one forecast; what lies beyond the known truth does not count."""
        length = min(len(forecast), len(reading.truth))
        truth = reading.truth[:length]
        known = ~np.isnan(truth)
        if not known.any():
            return
        truth, told = truth[known], np.asarray(forecast[:length], np.float64)[known]
        last = np.full(len(truth), reading.points()[-1])
        self.forecasts += 1
        self.points += len(truth)
        self.absolute += float(np.abs(told - truth).sum())
        self.symmetric += _symmetric(told, truth)
        self.absolute_last += float(np.abs(last - truth).sum())
        self.symmetric_last += _symmetric(last, truth)

    def as_dict(self) -> dict[str, Any]:
        """`mae` in the channel's unit, `smape` in percent, and `owa`: below 1 is better than the last value.

        Source: the M4 competition's overall weighted average, with the last value as the reference.
        """
        whole = [
            ours / reference
            for ours, reference in (
                (self.absolute, self.absolute_last),
                (self.symmetric, self.symmetric_last),
            )
            if reference
        ]
        return {
            "forecasts": self.forecasts,
            "mae": self.absolute / self.points,
            "smape": self.symmetric / self.points,
            "owa": sum(whole) / len(whole) if whole else None,
        }


@dataclass(slots=True)
class DetectionScore:
    """Flagged points beside labelled ones, in each reading. Points in gaps do not count."""

    readings: int = 0
    hits: int = 0
    false_alarms: int = 0
    misses: int = 0

    def add(self, reading: Reading, flagged: list[int]) -> None:
        """Takes the places that a detector has flagged in one reading."""
        said = np.zeros(len(reading.values), bool)
        said[[place for place in flagged if 0 <= place < len(said)]] = True
        measured, odd = ~np.isnan(reading.values), reading.kinds > 0
        self.readings += 1
        self.hits += int((said & odd & measured).sum())
        self.false_alarms += int((said & ~odd & measured).sum())
        self.misses += int((~said & odd & measured).sum())

    def as_dict(self) -> dict[str, Any]:
        """Counts, and precision, recall and F1 from 0 to 1; None where there is nothing to divide by."""
        flagged, odd = self.hits + self.false_alarms, self.hits + self.misses
        return {
            "readings": self.readings,
            "hits": self.hits,
            "false_alarms": self.false_alarms,
            "misses": self.misses,
            "precision": self.hits / flagged if flagged else None,
            "recall": self.hits / odd if odd else None,
            "f1": 2 * self.hits / (flagged + odd) if flagged + odd else None,
        }


@dataclass(slots=True)
class Scores:
    """The scores of one run: of whatever kind the answers are."""

    forecasts: dict[str, ForecastScore] = field(default_factory=dict[str, ForecastScore])
    detection: DetectionScore = field(default_factory=DetectionScore)

    def add(self, reading: Reading, output: dict[str, Any]) -> None:
        """Takes one answer: a model with `forecast` forecasts, one with `anomalies` detects."""
        if isinstance(output.get("forecast"), list):
            self.forecasts.setdefault(reading.channel, ForecastScore()).add(reading, output["forecast"])
        if isinstance(output.get("anomalies"), list):
            self.detection.add(reading, output["anomalies"])

    def as_dict(self) -> dict[str, Any]:
        """Of each kind that there was."""
        found: dict[str, Any] = {}
        channels = {name: score.as_dict() for name, score in self.forecasts.items() if score.points}
        if channels:
            ratios = [score["owa"] for score in channels.values() if score["owa"] is not None]
            found["forecast"] = {
                "owa": sum(ratios) / len(ratios) if ratios else None,
                "channels": dict(sorted(channels.items())),
            }
        if self.detection.readings:
            found["detection"] = self.detection.as_dict()
        return found


def _symmetric(told: Floats, truth: Floats) -> float:
    """The sum of symmetric percentage errors; two zeros have none."""
    scale = np.abs(told) + np.abs(truth)
    return float((200 * np.abs(told - truth) / np.where(scale == 0, 1, scale)).sum())
