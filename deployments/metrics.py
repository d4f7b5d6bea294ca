"""Satellite's metrics in Ray's own exporter."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from ray.serve.metrics import Counter, Gauge

from satellite.versions import Counts, LoadedVersions

# From a fast predict to a slow batch.
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 30, 60, 300)
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64)


class RayMetrics:
    """Implements `satellite.metrics.Metrics`. Made inside a replica, which calls `flush` now and then."""

    def __init__(self) -> None:
        self._submitted = _Counter("satellite_jobs_submitted_total", "Jobs made durable.", ("model",))
        self._finished = _Histogram(
            "satellite_job_seconds",
            "From a job's creation to its terminal state.",
            SECONDS,
            ("model", "status"),
        )
        self._predicted = _Histogram(
            "satellite_predict_seconds",
            "Synchronous requests that are not stored.",
            SECONDS,
            ("model", "status"),
        )
        self._batch_size = _Histogram(
            "satellite_batch_size", "Requests per chunk handed to a replica.", SIZES, ("model", "reason")
        )
        self._compute = _Histogram(
            "satellite_batch_compute_seconds", "How long batches computed.", SECONDS, ("model",)
        )
        self._depth = Gauge(
            "satellite_queue_depth", description="Requests that wait in an ingress.", tag_keys=("model",)
        )

    def job_submitted(self, model_name: str) -> None:
        """Count a job."""
        self._submitted.add(model_name)

    def job_finished(self, model_name: str, status: str, total_s: float) -> None:
        """Count an ended job."""
        self._finished.observe(total_s, model_name, status)

    def predict_finished(self, model_name: str, status: str, total_s: float) -> None:
        """Count a synchronous request."""
        self._predicted.observe(total_s, model_name, status)

    def batch_dispatched(self, model_name: str, waits_s: Iterable[float]) -> None:
        """Nothing: waits are not exported."""

    def batch_finished(self, model_name: str, reason: str, size: int, compute_s: float) -> None:
        """Count a batch."""
        self._batch_size.observe(size, model_name, reason)
        self._compute.observe(compute_s, model_name)

    def queue_depth(self, model_name: str, waiting: int) -> None:
        """Set the depth of a queue."""
        self._depth.set(waiting, {"model": model_name})

    def flush(self) -> None:
        """Hand over what has been counted since the last time."""
        for metric in (self._submitted, self._finished, self._predicted, self._batch_size, self._compute):
            metric.flush()


class VersionMetrics:
    """What a replica counts of the versions it loads.

    Args:
        model_name: the model.
    """

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._counters = {
            name: _Counter(f"satellite_model_version_{name}_total", description, ("model",))
            for name, description in (
                ("hits", "Chunks whose version was loaded."),
                ("misses", "Chunks that waited for their version to be loaded."),
                ("evictions", "Versions that were put away."),
            )
        }
        self._load = _Histogram(
            "satellite_model_version_load_seconds", "How long versions took to load.", SECONDS, ("model",)
        )

    def take(self, versions: LoadedVersions[Any, Any]) -> None:
        """Export what has been counted since the last time."""
        counts, versions.counts = versions.counts, Counts()
        seconds, versions.load_seconds = versions.load_seconds, []
        for name, counter in self._counters.items():
            if count := getattr(counts, name):
                counter.add(self._model_name, count=count)
            counter.flush()
        for took_s in seconds:
            self._load.observe(took_s, self._model_name)
        self._load.flush()


class _Counter:
    """A counter that is added up here: handing each count to Ray takes 8 microseconds."""

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self._tag_keys = tag_keys
        self._counter = Counter(name, description=description, tag_keys=tag_keys)
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, *tags: str, count: int = 1) -> None:
        self._counts[tags] = self._counts.get(tags, 0) + count

    def flush(self) -> None:
        counts, self._counts = self._counts, {}
        for tags, count in counts.items():
            self._counter.inc(count, dict(zip(self._tag_keys, tags, strict=True)))


class _Cells:
    """The counts of one set of tags."""

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.total = 0.0


class _Histogram:
    """A histogram that is added up here and exported as what Prometheus makes of one.

    Ray's own histograms are replayed in its agent, one observation at a time and in Python: at 3,000 requests
    a second that is a tenth of a core (docs/PERFORMANCE.md), and their sum is a guess. These are gauges of
    cumulative counts, `_bucket` with its `le`, `_sum` and `_count`: `rate()` and `histogram_quantile()` work.
    """

    def __init__(
        self, name: str, description: str, bounds: Sequence[float], tag_keys: tuple[str, ...]
    ) -> None:
        self._bounds = bounds
        self._limits = [*(f"{bound:g}" for bound in bounds), "+Inf"]
        self._tag_keys = tag_keys
        self._buckets = Gauge(f"{name}_bucket", description=description, tag_keys=(*tag_keys, "le"))
        self._sum = Gauge(f"{name}_sum", description=description, tag_keys=tag_keys)
        self._count = Gauge(f"{name}_count", description=description, tag_keys=tag_keys)
        self._cells: dict[tuple[str, ...], _Cells] = {}

    def observe(self, value: float, *tags: str) -> None:
        cells = self._cells.get(tags)
        if cells is None:
            cells = self._cells[tags] = _Cells(len(self._limits))
        cells.counts[bisect_left(self._bounds, value)] += 1
        cells.total += value

    def flush(self) -> None:
        # Unchanged ones too: Ray drops a gauge that was not set for a while.
        for tags, cells in self._cells.items():
            names = dict(zip(self._tag_keys, tags, strict=True))
            cumulative = 0
            for limit, count in zip(self._limits, cells.counts, strict=True):
                cumulative += count
                self._buckets.set(cumulative, {**names, "le": limit})
            self._sum.set(cells.total, names)
            self._count.set(cumulative, names)
