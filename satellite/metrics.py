"""What is counted, without saying where it is kept: the deployments plug in Ray's metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Metrics(Protocol):
    """Receives counts and durations. Every label has few values: model names, states, reasons."""

    def job_submitted(self, model_name: str) -> None:
        """A job was made durable."""
        ...

    def job_finished(self, model_name: str, status: str, total_s: float) -> None:
        """A job reached its terminal state `total_s` after it was created."""
        ...

    def predict_finished(self, model_name: str, status: str, total_s: float) -> None:
        """A synchronous request that is not stored was answered."""
        ...

    def batch_dispatched(self, model_name: str, waits_s: Iterable[float]) -> None:
        """A batch was handed to a replica; each of its requests could run for so long before."""
        ...

    def batch_finished(self, model_name: str, reason: str, size: int, compute_s: float) -> None:
        """A replica computed a batch."""
        ...

    def queue_depth(self, model_name: str, waiting: int) -> None:
        """How many requests wait in this ingress."""
        ...


class NoMetrics:
    """Counts nothing."""

    def job_submitted(self, model_name: str) -> None:
        """Nothing."""

    def job_finished(self, model_name: str, status: str, total_s: float) -> None:
        """Nothing."""

    def predict_finished(self, model_name: str, status: str, total_s: float) -> None:
        """Nothing."""

    def batch_dispatched(self, model_name: str, waits_s: Iterable[float]) -> None:
        """Nothing."""

    def batch_finished(self, model_name: str, reason: str, size: int, compute_s: float) -> None:
        """Nothing."""

    def queue_depth(self, model_name: str, waiting: int) -> None:
        """Nothing."""
