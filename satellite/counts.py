"""What an ingress counts of its models for the overview, and how what several have counted adds up.

Durations are counted in fixed buckets: those of several ingresses add up, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from satellite.jobs import JobStatus
from satellite.metrics import SECONDS, Counter, Histogram, Labels, Metrics

_FAILED = frozenset({JobStatus.FAILED, JobStatus.DEAD, JobStatus.EXPIRED})


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was counted of one model.

    `waits` and `computes` are histograms: how many durations, by the bucket they fall into.
    """

    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    predicted: int = 0
    batches: int = 0
    batched: int = 0  # requests in those batches
    waits: dict[int, int] = field(default_factory=dict[int, int])
    computes: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, other: Counts) -> None:
        """Count what the other has counted, too."""
        self.submitted += other.submitted
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.predicted += other.predicted
        self.batches += other.batches
        self.batched += other.batched
        for mine, others in ((self.waits, other.waits), (self.computes, other.computes)):
            for bucket, count in others.items():
                mine[bucket] = mine.get(bucket, 0) + count

    def shown(self) -> dict[str, Any]:
        """In wire form."""
        return {
            "submitted": self.submitted,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "predicted": self.predicted,
            "batches": self.batches,
            "batch_size": round(self.batched / self.batches, 3) if self.batches else None,
            "wait_p50_s": percentile(self.waits, 0.5),
            "wait_p95_s": percentile(self.waits, 0.95),
            "compute_p50_s": percentile(self.computes, 0.5),
            "compute_p95_s": percentile(self.computes, 0.95),
        }


@dataclass(slots=True, kw_only=True)
class Seen:
    """A model as one ingress has seen it: what it has counted, and what waited at the end."""

    counts: Counts
    held: int = 0  # requests in its queue
    backlog: int = 0  # jobs that wait in the database: every ingress sees the same ones
    oldest_at_s: float | None = None  # since when the oldest that waits could run, seconds since the epoch


Models = dict[str, Seen]
Row = dict[str, dict[str, Any]]


def percentile(buckets: Mapping[int, int], share: float) -> float | None:
    """The duration below which this share of those counted lies, in seconds; None if none was counted.

    Source: linear within the bucket, as Prometheus' `histogram_quantile` does.
    """
    left = share * sum(buckets.values())
    for bucket in sorted(buckets):
        count = buckets[bucket]
        if left <= count:
            if bucket == len(SECONDS):
                return round(SECONDS[-1], 6)
            upper = SECONDS[bucket]
            lower = SECONDS[bucket - 1] if bucket else 0.0
            return round(lower + (upper - lower) * left / count, 6)
        left -= count
    return None


class Growth:
    """By how much the counts of an ingress have grown since somebody looked.

    Args:
        metrics: what it counts.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._before: dict[tuple[Counter | Histogram, Labels], list[float]] = {}

    def take(self) -> dict[str, Counts]:
        """What was counted since the last time, by model; those of which nothing was are missing."""
        metrics = self._metrics
        grown: defaultdict[str, Counts] = defaultdict(Counts)
        for (name, *_), count in self._counter(metrics.jobs_submitted):
            grown[name].submitted += count
        for (name, status), count in self._counter(metrics.jobs_ended):
            if status == JobStatus.SUCCEEDED:
                grown[name].succeeded += count
            elif status in _FAILED:
                grown[name].failed += count
        for (name, *_), buckets, _ in self._histogram(metrics.predict_seconds):
            grown[name].predicted += sum(buckets.values())
        for (name, *_), buckets, total in self._histogram(metrics.batch_size):
            grown[name].batches += sum(buckets.values())
            grown[name].batched += round(total)
        for (name, *_), buckets, _ in self._histogram(metrics.job_wait_seconds):
            grown[name].waits = buckets
        for (name, *_), buckets, _ in self._histogram(metrics.batch_compute_seconds):
            grown[name].computes = buckets
        return dict(grown)

    def _counter(self, counter: Counter) -> Iterator[tuple[Labels, int]]:
        for labels, value in counter.values.items():
            (count,) = self._grown(counter, labels, [value])
            if count:
                yield labels, round(count)

    def _histogram(self, histogram: Histogram) -> Iterator[tuple[Labels, dict[int, int], float]]:
        """By how much each bucket has grown, and the sum of the values."""
        for labels, cells in histogram.cells.items():
            *counts, total = self._grown(histogram, labels, [*cells.counts, cells.total])
            if any(counts):
                yield labels, {n: round(count) for n, count in enumerate(counts) if count}, total

    def _grown(self, instrument: Counter | Histogram, labels: Labels, now: list[float]) -> list[float]:
        before = self._before.get((instrument, labels))
        self._before[instrument, labels] = now
        return now if before is None else [a - b for a, b in zip(now, before, strict=True)]


def pack(models: Models, span_s: float) -> bytes:
    """What an ingress has seen in so many seconds, for Redis."""
    content = {"span_s": span_s, "models": {name: asdict(seen) for name, seen in models.items()}}
    return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)


def unpack(value: bytes) -> tuple[float, Models] | None:
    """What an ingress has put into Redis; None if it is of a release that counts otherwise."""
    try:
        content = orjson.loads(value)
        return content["span_s"], {name: _seen(fields) for name, fields in content["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _seen(fields: dict[str, Any]) -> Seen:
    counts: dict[str, Any] = fields.pop("counts")
    for name in ("waits", "computes"):
        counts[name] = {int(bucket): count for bucket, count in counts[name].items()}
    return Seen(counts=Counts(**counts), **fields)


def merged(told: list[Models]) -> Row:
    """What several ingresses have seen, model by model, in wire form."""
    names = {name for models in told for name in models}
    return {name: add_up([models[name] for models in told if name in models]) for name in names}


def add_up(seen: list[Seen]) -> dict[str, Any]:
    """What several ingresses have seen of one model, in wire form; of none, what nobody has seen."""
    counts = Counts()
    for each in seen:
        counts.add(each.counts)
    waiting = sum(each.held for each in seen) + max((each.backlog for each in seen), default=0)
    return {**counts.shown(), "waiting": waiting}


def oldest(name: str, told: list[tuple[float, Models]]) -> float | None:
    """Since when the oldest request of a model waits, on whichever ingress."""
    since = [models[name].oldest_at_s for _, models in told if name in models]
    return min((at_s for at_s in since if at_s is not None), default=None)
