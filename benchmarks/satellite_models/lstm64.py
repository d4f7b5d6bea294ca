"""The comparison's model as a model of Satellite; dropped into `models/` of a system that is measured."""

from typing import ClassVar

from pydantic import BaseModel, Field

from benchmarks import lstm64
from satellite.model import register_model


@register_model("lstm64")
class LSTM64:
    """A one-layer LSTM of 64 units with random weights."""

    version = "1.0.0"
    Input = list[float]

    class Config(BaseModel, extra="forbid"):
        """Settings of one request."""

        forecast_steps: int = Field(lstm64.STEPS, ge=1, le=lstm64.STEPS)

    class Output(BaseModel):
        """The forecast."""

        forecast: list[float]

    example: ClassVar = {"data": lstm64.SERIES}

    def load(self, device: str) -> None:
        self._forecast = lstm64.load()

    def infer_batch(self, inputs):
        outcomes: list = [None] * len(inputs)
        places: dict[int, list[int]] = {}  # the network takes series of one length: one pass for each
        for place, item in enumerate(inputs):
            places.setdefault(len(item.data), []).append(place)
        for same in places.values():
            forecasts = self._forecast([inputs[place].data for place in same])
            for place, forecast in zip(same, forecasts, strict=True):
                outcomes[place] = self.Output(forecast=forecast[: inputs[place].config.forecast_steps])
        return outcomes
