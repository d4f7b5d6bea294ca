"""What is counted. It is added up here, in this process; `deployments/metrics.py` exports it through Ray.

Every label has few values: models, states, reasons, route templates; never ids and never what a client sent.
docs/MONITORING.md has the same list, and a test holds the two against each other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from satellite.jobs import JobStatus
from satellite.versions import Counts, LoadedVersions

Labels = tuple[str, ...]

# Those that objectives are about are among them: 0.1 s for a predict, 2 s for a window, 5 s, 30 s.
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 30, 60, 300)
HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 30)
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64)

ENDS = tuple(status for status in JobStatus if status.is_terminal)


class Counter:
    """A number that grows, for each set of labels.

    Args:
        name: as Prometheus sees it, with its unit; Ray puts `ray_` before it.
        help: what it counts, in one sentence.
        labels: the names of its labels.
    """

    kind: ClassVar[str] = "counter"

    def __init__(self, name: str, help: str, labels: Labels = ()) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.values: dict[Labels, float] = {}

    def add(self, *labels: str, count: float = 1) -> None:
        """Count. A count of 0 makes the series exist: a rate sees only what grows."""
        self.values[labels] = self.values.get(labels, 0) + count


class Gauge(Counter):
    """A number that goes up and down, for each set of labels."""

    kind = "gauge"

    def set(self, value: float, *labels: str) -> None:
        """Replace its value."""
        self.values[labels] = value


class Cells:
    """A histogram's counts for one set of labels: how many in each bucket, and the sum of all values."""

    __slots__ = ("counts", "total")

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.total = 0.0


class Histogram:
    """How values are spread, for each set of labels.

    Args:
        name: as Prometheus sees it, with its unit.
        help: what it measures, in one sentence.
        bounds: the upper bounds of its buckets; one more takes what is larger.
        labels: the names of its labels.
    """

    kind: ClassVar[str] = "histogram"

    def __init__(self, name: str, help: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self.name, self.help, self.labels = name, help, labels
        self.bounds = bounds
        self.cells: dict[Labels, Cells] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Count a value."""
        cells = self.cells.get(labels)
        if cells is None:
            cells = self.cells[labels] = Cells(len(self.bounds) + 1)
        cells.counts[bisect_left(self.bounds, value)] += 1
        cells.total += value


Instrument = Counter | Histogram


class Instruments:
    """Instruments, each an attribute."""

    def __iter__(self) -> Iterator[Instrument]:
        return (value for value in vars(self).values() if isinstance(value, Counter | Histogram))


class Metrics(Instruments):
    """What an ingress counts and sees.

    Args:
        models: the models that there are; their counters begin at 0.
    """

    def __init__(self, models: Iterable[str] = ()) -> None:
        model = ("model",)
        self.jobs_submitted = Counter("satellite_jobs_submitted_total", "Jobs made durable.", model)
        self.jobs_ended = Counter(
            "satellite_jobs_ended_total",
            "Jobs that reached this terminal state, counted by the ingress that recorded it.",
            ("model", "status"),
        )
        self.jobs_retried = Counter(
            "satellite_jobs_retried_total", "Attempts that failed and were followed by another.", model
        )
        self.job_seconds = Histogram(
            "satellite_job_seconds",
            "From a job's creation to its terminal state.",
            SECONDS,
            ("model", "status"),
        )
        self.job_wait_seconds = Histogram(
            "satellite_job_wait_seconds",
            "From when a job could run until a replica began to compute it.",
            SECONDS,
            model,
        )
        self.record_seconds = Histogram(
            "satellite_record_seconds",
            "How long it took to commit a job (`submit`, from its arrival) or its end (`end`) in PostgreSQL.",
            SECONDS,
            ("step",),
        )
        self.predict_seconds = Histogram(
            "satellite_predict_seconds",
            "Synchronous requests that are not stored.",
            SECONDS,
            ("model", "status"),
        )
        self.batch_size = Histogram(
            "satellite_batch_size",
            "Requests per chunk handed to a replica, by why it left.",
            SIZES,
            ("model", "reason"),
        )
        self.batch_compute_seconds = Histogram(
            "satellite_batch_compute_seconds", "How long batches computed.", SECONDS, model
        )
        self.batch_size_limit = Gauge(
            "satellite_batch_size_limit", "The largest batch: `max_batch_size` of the model.", model
        )
        self.queue_depth = Gauge("satellite_queue_depth", "Requests that wait in this ingress.", model)
        self.jobs = Gauge(
            "satellite_jobs",
            "Jobs in PostgreSQL that have not ended. Every ingress exports it: take the maximum.",
            ("model", "status"),
        )
        self.oldest_job_wait_seconds = Gauge(
            "satellite_oldest_job_wait_seconds",
            "For how long the oldest job that can run has waited. "
            "Every ingress exports it: take the maximum.",
            model,
        )
        self.replicas = Gauge(
            "satellite_replicas",
            "Running replicas, as Serve reports them. Every ingress exports it: take the maximum.",
            model,
        )
        self.leases_lost = Counter(
            "satellite_leases_lost_total", "Ingresses that were declared lost by this one."
        )
        self.jobs_recovered = Counter(
            "satellite_jobs_recovered_total",
            "Jobs of lost ingresses that were given back (`requeued`), or had no attempt left (`dead`).",
            ("model", "outcome"),
        )
        self.http_request_seconds = Histogram(
            "satellite_http_request_seconds",
            "From a request's arrival until its answer began, by the route's template.",
            HTTP_SECONDS,
            ("route", "method", "status"),
        )
        self.websockets_open = Gauge("satellite_websockets_open", "WebSockets that this ingress serves.")
        self.event_lag_seconds = Histogram(
            "satellite_event_lag_seconds",
            "From a step of a job until this ingress has read it from the event log, while somebody watches.",
            SECONDS,
        )
        self.store_up = Gauge(
            "satellite_store_up", "1 if the store answers, 0 if not, as this ingress sees it.", ("store",)
        )
        self.table_bytes = Gauge(
            "satellite_table_bytes",
            "Size of `jobs` and of the event log `events`, with indexes. "
            "Every ingress exports it: take the maximum.",
            ("table",),
        )
        self.table_overdue_days = Gauge(
            "satellite_table_overdue_days",
            "By how many days the oldest day of a table is past its retention. "
            "Every ingress exports it: take the maximum.",
            ("table",),
        )
        self.leases_lost.add(count=0)
        self.websockets_open.set(0)
        for name in models:
            self.jobs_submitted.add(name, count=0)
            self.jobs_retried.add(name, count=0)
            for status in ENDS:
                self.jobs_ended.add(name, status, count=0)
            for outcome in ("requeued", "dead"):
                self.jobs_recovered.add(name, outcome, count=0)

    def job_ended(self, model_name: str, status: str, total_s: float) -> None:
        """A job reached its terminal state `total_s` after it was created."""
        self.jobs_ended.add(model_name, status)
        self.job_seconds.observe(total_s, model_name, status)


class KafkaMetrics(Instruments):
    """What a consumer of Kafka counts and sees.

    Args:
        models: the models that there are; their counters begin at 0.
    """

    def __init__(self, models: Iterable[str] = ()) -> None:
        # The same as of an ingress: it is the sum of all that counts.
        self.jobs_submitted = Counter("satellite_jobs_submitted_total", "Jobs made durable.", ("model",))
        self.messages_rejected = Counter(
            "satellite_kafka_rejected_total", "Messages that cannot be jobs, and were sent back."
        )
        self.lag = Gauge(
            "satellite_kafka_lag",
            "Messages in the partitions of this consumer that are neither jobs nor rejected yet.",
        )
        self.messages_rejected.add(count=0)
        for name in models:
            self.jobs_submitted.add(name, count=0)


class VersionMetrics(Instruments):
    """What a replica counts of the versions it loads.

    Args:
        model_name: the model.
    """

    def __init__(self, model_name: str) -> None:
        model = ("model",)
        self.hits = Counter(
            "satellite_model_version_hits_total", "Chunks whose version was loaded already.", model
        )
        self.misses = Counter(
            "satellite_model_version_misses_total",
            "Chunks that waited for a version to be loaded.",
            model,
        )
        self.evictions = Counter(
            "satellite_model_version_evictions_total", "Versions that were put away.", model
        )
        self.loaded = Gauge("satellite_model_versions_loaded", "Versions that a replica has loaded.", model)
        self.load_seconds = Histogram(
            "satellite_model_version_load_seconds", "How long versions took to load.", SECONDS, model
        )
        self._model_name = model_name

    def take(self, versions: LoadedVersions[Any, Any]) -> None:
        """Take over what has been counted since the last time."""
        counts, versions.counts = versions.counts, Counts()
        seconds, versions.load_seconds = versions.load_seconds, []
        self.hits.add(self._model_name, count=counts.hits)
        self.misses.add(self._model_name, count=counts.misses)
        self.evictions.add(self._model_name, count=counts.evictions)
        self.loaded.set(len(versions.loaded), self._model_name)
        for took_s in seconds:
            self.load_seconds.observe(took_s, self._model_name)
