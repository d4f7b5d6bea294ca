"""How the models do, on all ingresses together: in the last seconds, and in steps of the last hour.

Every ingress takes over what it has counted every 2 s, at the even seconds of the clock, adds it to the step
of 10 s that it belongs to, and puts both into Redis. Whoever is asked for the overview adds up what all have
put there for the same moment.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import redis.asyncio as redis
from redis.exceptions import RedisError

from satellite.counts import Counts, Growth, Models, Row, Seen, add_up, merged, oldest, pack, unpack
from satellite.dispatch import ModelQueue
from satellite.metrics import Metrics
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
            number: pack(self._steps[number], STEP_S) for number in sorted(self._unsent & self._steps.keys())
        }
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                key = _tick_key(tick)
                pipeline.hset(key, self._id, pack(models, span_s))
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
        row = merged([models for _, models in told])
        spans = [span_s for span_s, _ in told]
        shown = {name: row.get(name) or add_up([]) for name in self._queues}
        return Now(
            at=datetime.fromtimestamp(now_s, UTC),
            span_s=round(sum(spans) / len(spans), 3) if spans else TICK_S,
            models={
                name: {
                    **columns,
                    "oldest_s": None if since_s is None else round(max(0.0, now_s - since_s), 3),
                }
                for name, columns in shown.items()
                for since_s in [oldest(name, told)]
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
            rows[number] = merged(told) if told else None
            if found is not None and number <= last - LATE_STEPS:
                self._rows[number] = rows[number]
        counted = [(number, row) for number in numbers if (row := rows[number]) is not None]
        names = sorted({*self._queues, *(name for _, row in counted for name in row)})
        nothing = add_up([])
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
        found = [[unpack(value) for id_, value in answer.items() if id_ != mine] for answer in answers]
        return [[told for told in answer if told is not None] for answer in found]


def _tick_key(tick: int) -> str:
    return f"satellite:overview:tick:{tick}"


def _step_key(step: int) -> str:
    return f"satellite:overview:step:{step}"
