"""A trained forecaster for any single series: global LSTMs, their weights in `models/artifacts`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from models.nets.season import check_season, find_season
from satellite.artifacts import Artifact
from satellite.device import Device
from satellite.errors import InvalidInput, VersionFailed
from satellite.model import ModelInput, register_model
from satellite.series import Series

if TYPE_CHECKING:
    from models.nets.global_lstm import Ensemble

LEVELS = ("0.1", "0.5", "0.9")


@register_model("lstm_timeseries")
class LSTMTimeSeries:
    """Forecasts a series with neural networks that were trained on many others.

    Five LSTMs, trained once on hourly and weekly series of the M4 competition, read the last 336 points of
    yours, whatever their unit, and weigh twenty simple forecasts by how well each did on it lately. They
    answer with the median and a band that is meant to hold the true value four times out of five. They know
    seasons: give `season_length` (24 for hourly data with a daily rhythm), or leave it out and it is found
    from the data. More points help: four weeks of hours or four years of weeks are looked at. Four points
    will do. Steps beyond the 48th are forecast from the forecast: less certain.
    """

    version = "2.0.0"
    Input = Series
    artifacts = Path(__file__).parent / "artifacts" / "lstm_timeseries"

    class Config(BaseModel, extra="forbid"):
        """Settings of one request."""

        forecast_steps: int = Field(5, ge=1, le=512, description="How many steps to forecast.")
        season_length: int | None = Field(
            None,
            ge=1,
            le=1024,
            description=(
                "After how many points the series repeats itself: 24 for hourly data with a daily rhythm, "
                "1 for none. Left out, it is found from the data. Not used if the data is shorter than one "
                "and a half seasons, or repeats itself to the digit after another number of points."
            ),
        )

    class Output(BaseModel):
        """The forecast of one series."""

        forecast: list[float] = Field(description="The median, one value per step.")
        quantiles: dict[str, list[float]] = Field(
            description='For "0.1", "0.5" and "0.9", one value per step: the true value is expected to lie '
            "below it that often."
        )

    example: ClassVar[dict[str, Any]] = {
        "data": [1.2, 2.3, 3.1, 2.8, 3.5, 4.2, 3.9, 4.5],
        "config": {"forecast_steps": 5},
    }

    def load(self, device: str, artifact: Artifact) -> None:
        """Read the weights.

        Args:
            device: "cpu" or "cuda"; a `Device` brings the type to compute in.
            artifact: the weights, with the network's `hyper` in their manifest.

        Raises:
            VersionFailed: they are no weights of this network.
        """
        from models.nets import global_lstm

        state = artifact.tensors(device)
        try:
            hyper = global_lstm.Hyper(**artifact.manifest.about["hyper"])
            net = global_lstm.Ensemble(hyper).to(device)
            net.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError) as error:
            raise VersionFailed(f"{artifact.folder}: the weights do not fit the network: {error}") from error
        self.use(net, device)

    def use(self, net: "Ensemble", device: str = "cpu") -> None:
        """Answer with these networks, which are on `device`."""
        from models.nets import global_lstm

        self.net = net.eval()
        self._device = Device.of(device)
        self._forecast = global_lstm.forecast_series

    def infer_batch(self, inputs: Sequence[ModelInput]) -> list[Output | Exception]:
        """Forecast all series in one pass; lengths, steps and seasons may differ."""
        outcomes: list[Any] = [_prepare(item) for item in inputs]
        places = [place for place, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
        if not places:
            return outcomes
        series, scales, seasons = zip(*(outcomes[place] for place in places), strict=True)
        steps = [inputs[place].config.forecast_steps for place in places]
        quantiles = self._forecast(self.net, list(series), list(seasons), max(steps), self._device)
        for place, scale, count, answer in zip(places, scales, steps, quantiles, strict=True):
            outcomes[place] = self._output(answer[:count] * scale)
        return outcomes

    def _output(self, quantiles: NDArray[np.float64]) -> Output | Exception:
        if not np.isfinite(quantiles).all():
            return InvalidInput("the forecast of this series is not finite; give it in a larger unit")
        by_level = dict(zip(LEVELS, quantiles.T.tolist(), strict=True))
        return self.Output(forecast=by_level["0.5"], quantiles=by_level)


def _prepare(item: ModelInput) -> tuple[NDArray[np.float64], float, int] | Exception:
    """One series at about unit size, the scale that undoes this, its season; or why it cannot be forecast."""
    try:
        series = np.asarray(item.data, dtype=np.float64)
        if series.ndim != 1 or not len(series) or not np.isfinite(series).all():
            return InvalidInput("data must be a list of finite numbers")
        # Squares of 1e30 fit a double, but sums over many points should not come near its end.
        scale = float(np.abs(series).max()) or 1.0
        series = series / scale
        season = item.config.season_length
        season = find_season(series) if season is None else check_season(series, season)
        return series, scale, season
    except Exception as error:
        return error
