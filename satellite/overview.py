"""How the models do, on all ingresses together: in the last seconds, and in steps of the last hour.

Every ingress takes over what it has counted every 2 s, at the even seconds of the clock, adds it to the step
of 10 s that it belongs to, and puts both into Redis. Whoever is asked for the overview adds up what all have
put there for the same moment. Durations are counted in fixed buckets: those of several ingresses add up, too.

Redis only caches and counts: without it an ingress answers with what it has counted itself, and says so.

=====================================  =====  ===============================================================
key                                    kind   holds
=====================================  =====  ===============================================================
`satellite:overview:tick:{number}`     hash   for each ingress what it has counted in these 2 s; for 30 s
`satellite:overview:step:{number}`     hash   the same for a step of 10 s; for an hour
=====================================  =====  ===============================================================

Numbers count from the epoch. A write replaces what the same ingress has written for the same moment: one that
is sent again changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import redis.asyncio as redis
from redis.exceptions import RedisError

from satellite.dispatch import ModelQueue
from satellite.jobs import JobStatus
from satellite.metrics import SECONDS, Counter, Histogram, Labels, Metrics
from satellite.tasks import stop

logger = logging.getLogger(__name__)

TICK_S = 2.0
STEP_S = 10
STEPS = 360
TICKS_PER_STEP = round(STEP_S / TICK_S)
# So long after a tick all ingresses have put theirs into Redis.
SETTLE_S = 1.0
REDIS_TIMEOUT_S = 1.0
TICK_KEPT_S = 30
# What has come late (Redis was away) is not looked for in steps older than this many.
LATE_STEPS = 3

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The last seconds, in wire form but for what the cluster knows.

    Attributes:
        complete: False if only what this ingress has counted is in it.
    """

    at: datetime
    span_s: float
    models: Mapping[str, Mapping[str, Any]]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The last hour, one value for each step in each column, in wire form; `complete` as in `Now`."""

    at: list[datetime]
    models: Mapping[str, Mapping[str, list[Any]]]
    complete: bool


Models = dict[str, Seen]
Row = dict[str, dict[str, Any]]


class Overview:
    """What one ingress adds to the overview, and the overview as it is read here.

    Args:
        metrics: what this ingress counts.
        queues: the models' queues, of this ingress.
        redis_url: where Redis is.
        clock: seconds since the epoch. All ingresses' clocks should agree within half a second.
    """

    def __init__(
        self,
        metrics: Metrics,
        queues: Mapping[str, ModelQueue],
        redis_url: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._growth = Growth(metrics)
        self._queues = queues
        self._redis: redis.Redis = redis.Redis.from_url(
            redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        )
        self._clock = clock
        self._id = uuid4().hex
        self._taken_at_s = clock()
        self._ticks: dict[
            int, tuple[float, Models]
        ] = {}  # the last of this ingress: seconds, and what it saw
        self._steps: dict[int, Models] = {}
        self._unsent: set[int] = set()  # steps that Redis does not have as they are now
        self._now: tuple[int, Now] | None = None
        self._rows: dict[int, Row | None] = {}  # steps that change no more; None: nobody counted
        self._history: tuple[int, History] | None = None
        self._reading = asyncio.Lock()  # however many ask: one reads
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take over what is counted."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Put what was counted last into Redis, and disconnect."""
        await stop(self._task)
        if self._task is not None:
            await self._tick(int(self._clock() // TICK_S) + 1)
        await self._redis.aclose()

    def until_next_s(self) -> float:
        """In how many seconds there is something new to read."""
        return TICK_S - (self._clock() - SETTLE_S) % TICK_S

    async def now(self) -> Now:
        """The last seconds that all ingresses have told of."""
        async with self._reading:
            tick = int((self._clock() - SETTLE_S) // TICK_S)
            if self._now is None or self._now[0] != tick:
                self._now = tick, await self._read_now(tick)
            return self._now[1]

    async def history(self) -> History:
        """The steps of the last hour that are over."""
        async with self._reading:
            last = int((self._clock() - SETTLE_S) // STEP_S) - 1
            if self._history is None or self._history[0] != last or not self._history[1].complete:
                self._history = last, await self._read_history(last)
            return self._history[1]

    # Counting

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S - self._clock() % TICK_S)
            try:
                await self._tick(round(self._clock() / TICK_S))
            except Exception:
                logger.exception("The overview was not counted.", extra={"action": "overview_failed"})

    async def _tick(self, tick: int) -> None:
        """Take over what was counted, and tell the others."""
        at_s = self._clock()
        span_s, self._taken_at_s = at_s - self._taken_at_s, at_s
        taken = self._growth.take()
        models = {name: self._look(name, queue, taken.get(name)) for name, queue in self._queues.items()}
        self._ticks[tick] = span_s, models
        for old in [known for known in self._ticks if not tick - TICKS_PER_STEP < known <= tick]:
            del self._ticks[old]
        number = (tick - 1) // TICKS_PER_STEP  # what was counted was counted before
        step = self._steps.setdefault(number, {})
        for name, seen in models.items():
            total = step[name].counts if name in step else Counts()
            total.add(seen.counts)
            step[name] = Seen(counts=total, held=seen.held, backlog=seen.backlog)
        self._unsent.add(number)
        for old in [known for known in self._steps if not number - STEPS <= known <= number]:
            del self._steps[old]
            self._unsent.discard(old)
        await self._send(tick)

    def _look(self, name: str, queue: ModelQueue, counts: Counts | None) -> Seen:
        waited_s = queue.oldest_wait_s()
        since = [] if waited_s is None else [self._clock() - waited_s]
        if queue.backlog.total and queue.backlog_since_s is not None:
            since.append(queue.backlog_since_s)
        return Seen(
            counts=counts or Counts(),
            held=len(queue),
            backlog=queue.backlog.total,
            oldest_at_s=min(since, default=None),
        )

    async def _send(self, tick: int) -> None:
        span_s, models = self._ticks[tick]
        # Taken before anything is waited for: meanwhile another tick may drop what is too old.
        steps = {
            number: _packed(self._steps[number], STEP_S)
            for number in sorted(self._unsent & self._steps.keys())
        }
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                key = _tick_key(tick)
                pipeline.hset(key, self._id, _packed(models, span_s))
                pipeline.expire(key, TICK_KEPT_S)
                for number, packed in steps.items():
                    key = _step_key(number)
                    pipeline.hset(key, self._id, packed)
                    pipeline.expire(key, (STEPS + LATE_STEPS) * STEP_S)
                await pipeline.execute()
        except (RedisError, OSError):
            return  # sent with the next tick
        self._unsent.difference_update(steps)

    # Reading

    async def _read_now(self, tick: int) -> Now:
        found = await self._read([_tick_key(tick)])
        told = list(found[0]) if found else []
        if tick in self._ticks:
            told.append(self._ticks[tick])
        now_s = tick * TICK_S
        row = _merged([models for _, models in told])
        spans = [span_s for span_s, _ in told]
        shown = {name: row.get(name) or _shown([Seen(counts=Counts())]) for name in self._queues}
        return Now(
            at=datetime.fromtimestamp(now_s, UTC),
            span_s=round(sum(spans) / len(spans), 3) if spans else TICK_S,
            models={
                name: {
                    **columns,
                    "oldest_s": None if since_s is None else round(max(0.0, now_s - since_s), 3),
                }
                for name, columns in shown.items()
                for since_s in [_oldest(name, told)]
            },
            complete=found is not None,
        )

    async def _read_history(self, last: int) -> History:
        numbers = range(last - STEPS + 1, last + 1)
        for old in [number for number in self._rows if number not in numbers]:
            del self._rows[old]
        wanted = [number for number in numbers if number not in self._rows]
        found = await self._read([_step_key(number) for number in wanted])
        rows = dict(self._rows)
        for index, number in enumerate(wanted):
            await asyncio.sleep(0)  # a whole hour takes a while: requests come in between
            told = [models for _, models in found[index]] if found else []
            if number in self._steps:
                told.append(self._steps[number])
            rows[number] = _merged(told) if told else None
            if found is not None and number <= last - LATE_STEPS:
                self._rows[number] = rows[number]
        counted = [(number, row) for number in numbers if (row := rows[number]) is not None]
        names = sorted({*self._queues, *(name for _, row in counted for name in row)})
        nothing = _shown([Seen(counts=Counts())])
        return History(
            at=[datetime.fromtimestamp(number * STEP_S, UTC) for number, _ in counted],
            models={
                name: {column: [row.get(name, nothing)[column] for _, row in counted] for column in nothing}
                for name in names
            },
            complete=found is not None,
        )

    async def _read(self, keys: list[str]) -> list[list[tuple[float, Models]]] | None:
        """For each key what the other ingresses have put there; None: Redis does not answer."""
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.hgetall(key)
                answers: list[dict[bytes, bytes]] = await pipeline.execute()
        except (RedisError, OSError):
            return None
        mine = self._id.encode()
        found = [[_unpacked(value) for id_, value in answer.items() if id_ != mine] for answer in answers]
        return [[told for told in answer if told is not None] for answer in found]


def _tick_key(tick: int) -> str:
    return f"satellite:overview:tick:{tick}"


def _step_key(step: int) -> str:
    return f"satellite:overview:step:{step}"


def _packed(models: Models, span_s: float) -> bytes:
    content = {"span_s": span_s, "models": {name: asdict(seen) for name, seen in models.items()}}
    return orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)


def _unpacked(value: bytes) -> tuple[float, Models] | None:
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


def _merged(told: list[Models]) -> Row:
    """What several ingresses have seen, model by model, in wire form."""
    names = {name for models in told for name in models}
    return {name: _shown([models[name] for models in told if name in models]) for name in names}


def _shown(seen: list[Seen]) -> dict[str, Any]:
    counts = Counts()
    for each in seen:
        counts.add(each.counts)
    waiting = sum(each.held for each in seen) + max(each.backlog for each in seen)
    return {**counts.shown(), "waiting": waiting}


def _oldest(name: str, told: list[tuple[float, Models]]) -> float | None:
    since = [models[name].oldest_at_s for _, models in told if name in models]
    return min((at_s for at_s in since if at_s is not None), default=None)
