"""A model of the tests' own, dropped into `models/`: each version multiplies by a number of its own."""

import time
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel

from satellite.artifacts import Artifact
from satellite.model import ModelInput, register_model


@register_model("multiply")
class Multiply:
    """Multiplies by what its version says."""

    version = "1"
    Input = float

    class Config(BaseModel, extra="forbid"):
        """None."""

    class Output(BaseModel):
        """The product, and what was computed with it."""

        version: str
        product: float
        batch_size: int

    example: ClassVar[dict[str, Any]] = {"data": 1.0}

    def load(self, device: str, artifact: Artifact) -> None:
        """Read the number."""
        time.sleep(0.01)
        self._version = artifact.version
        self._factor: float | None = artifact.tensors(device)["factor"].item()

    def close(self) -> None:
        """From here on nothing may be computed."""
        self._factor = None

    def infer_batch(self, inputs: Sequence[ModelInput]) -> list[Output]:
        """Multiply."""
        time.sleep(0.002)
        return [
            self.Output(version=self._version, product=i.data * self._factor, batch_size=len(inputs))
            for i in inputs
        ]
