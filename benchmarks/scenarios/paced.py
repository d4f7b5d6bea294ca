"""A model whose batches take as long as its callers ask, without using the processor.

So the machine is the same whether it computes or not, and what is measured is the way to it and back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel, Field

from satellite.model import ModelInput


class Paced:
    """Answers with the mean of its input and the size of its batch."""

    version = "1.0.0"
    Input = list[float]

    class Config(BaseModel, extra="forbid"):
        """Settings of one request."""

        compute_s: float = Field(0, ge=0, le=60, description="A batch takes as long as its longest request.")

    class Output(BaseModel):
        """The mean, and how many requests were in the batch."""

        mean: float
        batch_size: int

    example: ClassVar = {"data": [1.0, 2.0]}

    def load(self, device: str) -> None:
        """There is nothing to load."""

    def infer_batch(self, inputs: Sequence[ModelInput]) -> list[Output]:
        """Sleep, then average."""
        time.sleep(max(item.config.compute_s for item in inputs))
        return [
            self.Output(mean=sum(item.data) / max(len(item.data), 1), batch_size=len(inputs))
            for item in inputs
        ]
