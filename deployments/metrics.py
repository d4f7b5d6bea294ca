"""Satellite's metrics in Ray's own exporter."""

from __future__ import annotations

from ray.serve.metrics import Counter, Gauge, Histogram

# From a fast predict to a slow batch.
SECONDS = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 30, 60, 300]


class RayMetrics:
    """Implements `satellite.metrics.Metrics`. Made inside a replica."""

    def __init__(self) -> None:
        self._submitted = Counter(
            "satellite_jobs_submitted_total", description="Jobs made durable.", tag_keys=("model",)
        )
        self._finished = Histogram(
            "satellite_job_seconds",
            description="From a job's creation to its terminal state.",
            boundaries=SECONDS,
            tag_keys=("model", "status"),
        )
        self._predicted = Histogram(
            "satellite_predict_seconds",
            description="Synchronous requests that are not stored.",
            boundaries=SECONDS,
            tag_keys=("model", "status"),
        )
        self._batch_size = Histogram(
            "satellite_batch_size",
            description="Requests per chunk handed to a replica.",
            boundaries=[1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64],
            tag_keys=("model", "reason"),
        )
        self._compute = Histogram(
            "satellite_batch_compute_seconds",
            description="How long batches computed.",
            boundaries=SECONDS,
            tag_keys=("model",),
        )
        self._depth = Gauge(
            "satellite_queue_depth", description="Requests that wait in an ingress.", tag_keys=("model",)
        )

    def job_submitted(self, model_name: str) -> None:
        """Count a job."""
        self._submitted.inc(1, {"model": model_name})

    def job_finished(self, model_name: str, status: str, total_s: float) -> None:
        """Count an ended job."""
        self._finished.observe(total_s, {"model": model_name, "status": status})

    def predict_finished(self, model_name: str, status: str, total_s: float) -> None:
        """Count a synchronous request."""
        self._predicted.observe(total_s, {"model": model_name, "status": status})

    def batch_finished(self, model_name: str, reason: str, size: int, compute_s: float) -> None:
        """Count a batch."""
        self._batch_size.observe(size, {"model": model_name, "reason": reason})
        self._compute.observe(compute_s, {"model": model_name})

    def queue_depth(self, model_name: str, waiting: int) -> None:
        """Set the depth of a queue."""
        self._depth.set(waiting, {"model": model_name})
