"""The smallest example of the model contract: no weights, no torch."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from satellite.model import ModelInput, register_model
from satellite.series import MAX_POINTS, Series


@register_model("moving_average")
class MovingAverage:
    """Forecasts the mean of the last `window` observations, every step the same."""

    version = "1.0.0"
    Input = Series

    class Config(BaseModel, extra="forbid"):
        """Settings of one request."""

        forecast_steps: int = Field(5, ge=1, le=512, description="How many steps to forecast.")
        window: int = Field(
            8, ge=1, le=MAX_POINTS, description="How many observations to average; all, if there are fewer."
        )

    class Output(BaseModel):
        """The forecast of one series."""

        forecast: list[float] = Field(description="One value per step.")

    example = {"data": [1.2, 2.3, 3.1, 2.8, 3.5, 4.2, 3.9, 4.5], "config": {"forecast_steps": 5}}

    def load(self, device: str) -> None:
        """There is nothing to load."""

    def infer_batch(self, inputs: Sequence[ModelInput]) -> list[Output]:
        """Average the tail of each series."""
        return [self._forecast(item.data, item.config) for item in inputs]

    def _forecast(self, data: list[float], config: Config) -> Output:
        tail = data[-config.window :]
        return self.Output(forecast=[sum(tail) / len(tail)] * config.forecast_steps)
