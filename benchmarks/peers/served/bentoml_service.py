"""BentoML: one batched call, plain and as a task."""

from __future__ import annotations

import os

import bentoml

from benchmarks import lstm64

# The latency limit is out of reach: with a tight one BentoML answers 503 when it expects to be late.
BATCHED = {"batchable": True, "max_batch_size": 8, "max_latency_ms": 10_000}


@bentoml.service(
    name="lstm64",
    workers=int(os.environ["BENCH_WORKERS"]),
    traffic={"timeout": 600},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
class Forecast:
    """The comparison's model."""

    def __init__(self) -> None:
        self._forecast = lstm64.load()

    @bentoml.api(**BATCHED)
    async def predict(self, series: list[list[float]]) -> list[list[float]]:
        return self._forecast(series)

    @bentoml.task(**BATCHED)
    async def job(self, series: list[list[float]]) -> list[list[float]]:
        return self._forecast(series)
