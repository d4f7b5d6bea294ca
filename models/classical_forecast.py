"""The strong baseline on a CPU: exponential smoothing and Theta, fitted to each series when it comes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from models.nets.season import find_season
from satellite.errors import InvalidInput
from satellite.model import ModelInput, register_model
from satellite.series import Series

# The bounds of the band, as statsforecast names what lies between the quantiles 0.1 and 0.9.
LEVEL = 80
LOW, HIGH = f"lo-{LEVEL}", f"hi-{LEVEL}"
# Fits take the longer the more points and seasons there are; the newest say most.
MOST_POINTS = 512
LONGEST_SEASON = {"theta": 168, "ets": 52}
# A season is used once it has been seen twice: what the fit of its factors needs.
MIN_CYCLES = 2
# Fewer points than this do not determine the smoothing, let alone a choice.
FEWEST_POINTS = 8


@register_model("classical_forecast")
class ClassicalForecast:
    """Forecasts a series with exponential smoothing or Theta, chosen and fitted for it anew.

    Nothing was trained: AutoETS tries the models of error, trend and season and keeps the one with the best
    information criterion, AutoTheta does the same with four Theta models. The last 512 points are fitted.
    """

    version = "1.0.0"
    Input = Series

    class Config(BaseModel, extra="forbid"):
        """Settings of one request."""

        forecast_steps: int = Field(5, ge=1, le=512, description="How many steps to forecast.")
        season_length: int | None = Field(
            None,
            ge=1,
            le=1024,
            description=(
                "After how many points the series repeats itself: 24 for hourly data with a daily rhythm, "
                "1 for none. Left out, it is found from the data. Not used if the data is shorter than two "
                "seasons, or if it is longer than 168 (theta) or 52 (ets)."
            ),
        )
        method: Literal["ets", "theta"] = Field(
            "ets", description="AutoETS: exponential smoothing; or AutoTheta, several times faster."
        )

    class Output(BaseModel):
        """The forecast of one series."""

        forecast: list[float] = Field(description="One value per step.")
        quantiles: dict[str, list[float]] = Field(
            description='For "0.1", "0.5" and "0.9", one value per step: the true value is expected to lie '
            'below it that often. "0.5" is the forecast.'
        )

    example: ClassVar[dict[str, Any]] = {
        "data": [1.2, 2.3, 3.1, 2.8, 3.5, 4.2, 3.9, 4.5],
        "config": {"forecast_steps": 5},
    }

    def load(self, device: str) -> None:
        """Import statsforecast, which takes seconds and most of the memory of a replica.

        Args:
            device: not used: the fits run on the CPU.
        """
        from statsforecast.models import AutoETS, AutoTheta, Naive

        self._methods = {"theta": AutoTheta, "ets": AutoETS}
        self._naive = Naive()

    def infer_batch(self, inputs: Sequence[ModelInput]) -> list[Output | Exception]:
        """Fit and forecast each series by itself."""
        return [self._forecast(item) for item in inputs]

    def _forecast(self, item: ModelInput) -> Output | Exception:
        series = np.asarray(item.data, dtype=np.float64)
        # Sums of squares of 1e30 fit a double only just.
        scale = float(np.abs(series).max()) or 1.0
        series = series[-MOST_POINTS:] / scale
        steps = item.config.forecast_steps
        with warnings.catch_warnings():
            # Of fits that were given up for better ones, and the like: nobody could act on it.
            warnings.simplefilter("ignore")
            answer = self._fit(series, item.config, steps)
        low, median, high = (scale * answer[key] for key in (LOW, "mean", HIGH))
        if not np.isfinite([low, median, high]).all():
            return InvalidInput("the forecast of this series is not finite; give it in a larger unit")
        quantiles = {"0.1": np.minimum(low, median), "0.5": median, "0.9": np.maximum(high, median)}
        by_level = {level: values.tolist() for level, values in quantiles.items()}
        return self.Output(forecast=by_level["0.5"], quantiles=by_level)

    def _fit(self, series: NDArray[np.float64], config: Config, steps: int) -> dict[str, NDArray[np.float64]]:
        """The forecast and its band; the last value with the band of a random walk where no fit succeeds."""
        if len(series) >= FEWEST_POINTS and np.ptp(series) > 0:
            method = self._methods[config.method](season_length=_season(series, config))
            try:
                answer = method.forecast(y=series, h=steps, level=[LEVEL])
            except Exception:  # whatever the optimizers run into: a series that none of them fits
                answer = {}
            if answer and np.isfinite([answer[key] for key in (LOW, "mean", HIGH)]).all():
                return answer
        return self._naive.forecast(y=series, h=steps, level=[LEVEL])


def _season(series: NDArray[np.float64], config: ClassicalForecast.Config) -> int:
    season = find_season(series) if config.season_length is None else config.season_length
    usable = season <= LONGEST_SEASON[config.method] and len(series) >= MIN_CYCLES * season
    return season if usable else 1
