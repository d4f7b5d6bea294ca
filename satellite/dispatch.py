"""The queue of one model in one ingress: forms batches and hands them to replicas that have room.

The contract is 8 requests or 2 seconds, whichever comes first. The work stays here until a replica can take
it (late binding): a batch cut while every replica is busy would leave half full, and one bound to a replica
early would wait behind a slow one. Each replica is given one call to run and, if its batch is full anyway,
one to have ready. A call carries one batch; of a model that computes faster than a call takes, a few.

A batch is of one version of the model: requests wait in a lane for each. Of the batches that are due, the one
with the request of the highest rank leaves first.

Requests leave by rank: the time since they could run, plus `PRIORITY_STEP` for each step of priority. All age
alike, so nothing is starved (Kleinrock's delay-dependent priorities, with one slope for all).
Source: L. Kleinrock, "A delay dependent queue discipline", Naval Research Logistics Quarterly 11 (1964).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from satellite.batching import Chunk, ChunkResult, FlushReason, Outcome, Tensor
from satellite.config import Batching
from satellite.errors import InferenceError, QueueFull, ReplicaDied
from satellite.jobs import MAX_PRIORITY, PRIORITY_STEP
from satellite.metrics import Metrics
from satellite.tasks import Background

logger = logging.getLogger(__name__)

CALLS_PER_REPLICA = 2  # one running, one ready
# A call costs about a millisecond. So full batches travel together as long as they compute in this time.
CALL_COMPUTE_S = 0.005
MAX_BATCHES_PER_CALL = 4
# A call is one message: a batch of large requests leaves with fewer of them.
MAX_CALL_BYTES = 32 * 1024 * 1024
RETRY_AFTER_S = 2
# Synchronous requests: they need no lease, so they leave even while stored jobs are held back.
SYNC = MAX_PRIORITY + 1
_STEP_S = PRIORITY_STEP.total_seconds()
# How much the last batch counts in the average of their durations.
_RECENT = 0.3


class Request(Protocol):
    """What the queue holds: something to compute that wants to hear what became of it."""

    config: str  # JSON
    size_bytes: int  # of its data and config
    version: str | None  # of the model; None: the only one
    level: int  # its priority, 0 to 9, or SYNC
    urgent: FlushReason | None  # must not wait for a batch to fill, and why
    suspect: bool  # a replica died under it: it may be the cause, so it shares no batch

    @property
    def data(self) -> str | Tensor:
        """Its input, as JSON or as an array of numbers."""
        ...

    def is_wanted(self) -> bool:
        """Whether it shall still run. Asked last thing before it is handed over; if not, it is dropped."""
        ...

    def dispatched(self, fill_s: float) -> None:
        """It has been handed to a replica, after `fill_s` seconds in which one was free for its batch."""
        ...

    def finished(self, outcome: Outcome, batch: Batch) -> None:
        """It has an outcome."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How a request was computed. `result` is None if no replica answered."""

    flush_reason: FlushReason
    result: ChunkResult | None


# Requests that leave, each with the time since when it could run.
Taken = list[tuple[Request, float]]
# By level, oldest first, each with the time since when it could run.
Levels = list[OrderedDict[Request, float]]


class _Lane:
    """What waits for one version, but for suspects."""

    __slots__ = ("levels", "urgent", "version")

    def __init__(self, version: str | None) -> None:
        self.version = version
        self.levels: Levels = [OrderedDict() for _ in range(SYNC + 1)]
        self.urgent: Counter[FlushReason] = Counter()

    def __len__(self) -> int:
        return sum(map(len, self.levels))


class ModelQueue:
    """The queue of one model.

    Args:
        model_name: for messages and logs.
        batching: the model's batching settings.
        send: hands chunks to some replica and returns an answer for each. It raises `ReplicaDied` if it died.
        max_queued: more waiting requests than this are refused.
        max_call_bytes: a call holds no more than this, unless a single request does.
        metrics: where batches are counted.
        clock: monotonic seconds.

    Attributes:
        elsewhere: how many requests for the model wait outside this queue, as last seen.
        backlog: how many of them wait in the database, held by no ingress.
        backlog_since_s: since when the oldest of these could run, seconds since the epoch.
        gate: asked before stored jobs leave; while it says no they stay (the lease or the store is in doubt).
        draining: batches leave without waiting for company.
        on_room: called when a batch has left or returned.
    """

    def __init__(
        self,
        model_name: str,
        batching: Batching,
        send: Callable[[Sequence[Chunk]], Awaitable[Sequence[ChunkResult]]],
        *,
        max_queued: int,
        max_call_bytes: int = MAX_CALL_BYTES,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model_name = model_name
        self.batching = batching
        self.max_queued = max_queued
        self.replicas = 1  # how many are running; whoever watches the cluster keeps this current
        self.compute_s: float | None = None  # how long batches compute: a running average
        self.elsewhere = 0
        self.backlog = 0
        self.backlog_since_s: float | None = None
        self.gate: Callable[[], bool] = lambda: True
        self.draining = False
        self.on_room: Callable[[], None] = lambda: None
        self._send = send
        self._max_call_bytes = max_call_bytes
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._lanes: dict[str | None, _Lane] = {}
        self._suspects: OrderedDict[Request, float] = OrderedDict()
        self._busy = 0  # how many calls replicas hold
        self._room_since = clock()  # since when a replica has been free
        self._suspect_runs = False
        self._runs = Background()
        self._timer: asyncio.TimerHandle | None = None
        self._pump_scheduled = False
        # A chunk is not its first caller's own: what a caller's context carries (Serve cancels the calls made
        # under a request whose client hangs up) must not reach the others in it.
        self._context = contextvars.copy_context()
        self._closed = False

    def __len__(self) -> int:
        return len(self._suspects) + sum(map(len, self._lanes.values()))

    def admit(self, count: int = 1) -> None:
        """Check that `count` more requests may wait.

        Raises:
            QueueFull: there are as many as `max_queued` already.
        """
        waiting = len(self) + self.elsewhere
        if waiting + count > self.max_queued:
            raise QueueFull(
                f"{waiting} requests wait for '{self.model_name}' already, and at most {self.max_queued} may "
                "(max_queued in its config); send it again later",
                retry_after_s=max(RETRY_AFTER_S, min(60, round(self.eta_s(waiting) or 0) // 2)),
            )

    def put(self, request: Request, *, waited_s: float = 0) -> None:
        """Queue a request. It is handed over in this turn of the event loop at the earliest.

        Args:
            request: the request.
            waited_s: for how long it has been able to run already.
        """
        if self._closed:
            return  # a stored job is handed back with the lease
        if request.suspect:
            self._suspects[request] = self._clock() - waited_s
        else:
            lane = self._lanes.get(request.version)
            if lane is None:
                lane = self._lanes[request.version] = _Lane(request.version)
            lane.levels[request.level][request] = self._clock() - waited_s
            if request.urgent:
                lane.urgent[request.urgent] += 1
        self._schedule_pump()

    def remove(self, request: Request) -> bool:
        """Take a request out again. Returns False if it does not wait here (any more)."""
        if request.suspect:
            return self._suspects.pop(request, None) is not None
        lane = self._lanes.get(request.version)
        if lane is None or lane.levels[request.level].pop(request, None) is None:
            return False
        if request.urgent:
            lane.urgent[request.urgent] -= 1
        return True

    def ahead_of(self, level: int) -> int:
        """How many requests would leave before one of this level that came now."""
        now = self._clock()
        ahead = len(self._suspects)
        for lane in self._lanes.values():
            ahead += sum(len(queue) for queue in lane.levels[level:])
            for lower in range(level):
                for came_at in lane.levels[lower].values():
                    if came_at > now - (level - lower) * _STEP_S:
                        break
                    ahead += 1
        return ahead

    def eta_s(self, ahead: int) -> float | None:
        """In how many seconds a request with so many before it will have its result; None: not known yet.

        Args:
            ahead: how many leave before it, here and elsewhere.
        """
        if self.compute_s is None:
            return None
        size = self.batching.max_batch_size
        rounds = (ahead // size + self._busy) / max(self.replicas, 1)
        fill_s = 0.0
        if ahead < size - 1 and self.batching.flush == "window" and not rounds:
            waited_s = self._lanes_wait_s() or 0.0
            fill_s = max(0.0, self.batching.batch_wait_timeout_s - waited_s)
        return fill_s + (rounds + 1) * self.compute_s

    def oldest_wait_s(self) -> float | None:
        """For how long the oldest request that waits here has been able to run; None: none waits."""
        waits = [self._lanes_wait_s()]
        if self._suspects:
            waits.append(self._clock() - next(iter(self._suspects.values())))
        return max((wait_s for wait_s in waits if wait_s is not None), default=None)

    def _lanes_wait_s(self) -> float | None:
        oldest = min(
            (next(iter(queue.values())) for lane in self._lanes.values() for queue in lane.levels if queue),
            default=None,
        )
        return None if oldest is None else self._clock() - oldest

    def set_replicas(self, count: int) -> None:
        """Tell the queue how many replicas are running."""
        if count != self.replicas:
            had_room = self._busy < max(self.replicas, 1)
            self.replicas = count
            if self._busy < max(count, 1) and not had_room:
                self._room_since = self._clock()
            self._schedule_pump()

    def poke(self) -> None:
        """Look again at what may leave: the gate may have opened."""
        self._schedule_pump()

    def drain(self) -> None:
        """Let everything leave as soon as there is room for it."""
        self.draining = True
        self._schedule_pump()

    def clear_jobs(self) -> None:
        """Drop the stored jobs that wait: they are others' now."""
        queues = [queue for lane in self._lanes.values() for queue in lane.levels[:SYNC]]
        for request in [r for queue in (self._suspects, *queues) for r in queue]:
            self.remove(request)

    async def close(self) -> None:
        """Wait for what replicas are computing. What still waits here stays queued."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._suspects.clear()
        self._lanes.clear()
        await self._runs.finish()

    def _schedule_pump(self) -> None:
        # One turn later, so that everything that arrives in this turn can leave in the same batch.
        if not self._pump_scheduled:
            self._pump_scheduled = True
            asyncio.get_running_loop().call_soon(self._pump, context=self._context)

    def _pump(self) -> None:
        """Hand over every batch that is due and for which there is room."""
        self._pump_scheduled = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        open_ = self.gate()
        while open_ and self._suspects and not self._suspect_runs and self._has_free_replica:
            request, came_at = self._suspects.popitem(last=False)
            if request.is_wanted():
                self._suspect_runs = True
                self._hand_over([[(request, came_at)]], FlushReason.FLUSH)
        while (due := self._next(0 if open_ else SYNC)) is not None:
            lane, levels, reason = due
            if batches := self._take_call(lane, levels, reason):
                self._hand_over(batches, reason)
            if not lane and len(self._lanes) > 1:
                del self._lanes[lane.version]

    @property
    def _has_free_replica(self) -> bool:
        return self._busy < max(self.replicas, 1)

    def _next(self, lowest: int) -> tuple[_Lane, Levels, FlushReason] | None:
        """The lane whose batch leaves now, the levels it is taken from, and why it leaves.

        Args:
            lowest: the lowest level that may leave.

        Returns:
            None if there is none: then a timer or a returning batch asks again.
        """
        if self._busy >= CALLS_PER_REPLICA * max(self.replicas, 1):
            return None
        free = self._has_free_replica
        due: list[tuple[_Lane, Levels, FlushReason]] = []
        full = False
        next_s: float | None = None
        for lane in self._lanes.values():
            levels = lane.levels[lowest:] if lowest else lane.levels
            waiting = sum(map(len, levels))
            if not waiting:
                continue
            if waiting >= self.batching.max_batch_size:
                full = True
                due.append((lane, levels, FlushReason.FULL))
            elif free or len(self._lanes) > 1:
                reason, left_s = self._due(lane, levels)
                if reason is not None:
                    due.append((lane, levels, reason))
                elif next_s is None or left_s < next_s:
                    next_s = left_s
        # With every replica busy only full batches are made ready. But as long as there are such, none gets
        # free: so what is due in another lane takes its turn among them.
        if due and (free or full):
            return (
                due[0] if len(due) == 1 else min(due, key=lambda item: min(map(_rank, filter(None, item[1]))))
            )
        if next_s is not None and free:
            self._timer = asyncio.get_running_loop().call_later(next_s, self._pump)
        return None

    def _due(self, lane: _Lane, levels: Levels) -> tuple[FlushReason | None, float]:
        """Why a batch that is not full leaves now; if it does not, in how many seconds it will."""
        if self.draining:
            return FlushReason.DRAIN, 0.0
        if lane.urgent[FlushReason.FLUSH] or self.batching.flush == "idle":
            return FlushReason.FLUSH, 0.0
        if lane.urgent[FlushReason.DEADLINE]:
            return FlushReason.DEADLINE, 0.0
        oldest = min(next(iter(queue.values())) for queue in levels if queue)
        left_s = oldest + self.batching.batch_wait_timeout_s - self._clock()
        return (FlushReason.TIMER if left_s <= 0 else None), left_s

    def _take_call(self, lane: _Lane, levels: Levels, reason: FlushReason) -> list[Taken]:
        """What the next call carries: one batch, or several full ones."""
        size = self.batching.max_batch_size
        most = 1
        if reason is FlushReason.FULL and self.compute_s is not None:
            most = max(1, min(MAX_BATCHES_PER_CALL, int(CALL_COMPUTE_S / max(self.compute_s, 1e-6))))
        batches: list[Taken] = []
        left_bytes = self._max_call_bytes
        while batch := self._take(lane, levels, size):
            batches.append(batch)
            left_bytes -= sum(request.size_bytes for request, _ in batch)
            # Those of the highest rank are among these: they take this much at most.
            next_bytes = sum(request.size_bytes for queue in levels for request in islice(queue, size))
            if len(batches) == most or sum(map(len, levels)) < size or next_bytes > left_bytes:
                break
        return batches

    def _take(self, lane: _Lane, levels: Levels, count: int) -> Taken:
        """The requests of the highest rank that fit a call, each with the time since when it could run."""
        taken: Taken = []
        left_bytes = self._max_call_bytes
        while len(taken) < count and (waiting := [queue for queue in levels if queue]):
            queue = waiting[0] if len(waiting) == 1 else min(waiting, key=_rank)
            size_bytes = next(iter(queue)).size_bytes
            if size_bytes > left_bytes and taken:
                break
            request, came_at = queue.popitem(last=False)
            if request.urgent:
                lane.urgent[request.urgent] -= 1
            if request.is_wanted():
                taken.append((request, came_at))
                left_bytes -= size_bytes
        return taken

    def _hand_over(self, batches: list[Taken], reason: FlushReason) -> None:
        now = self._clock()
        free = self._has_free_replica
        for batch in batches:
            for request, came_at in batch:
                request.dispatched(max(0.0, now - max(came_at, self._room_since)) if free else 0.0)
        self._busy += 1
        self._runs.spawn(self._run([[request for request, _ in batch] for batch in batches], reason))

    async def _run(self, batches: list[list[Request]], reason: FlushReason) -> None:
        suspect = batches[0][0].suspect
        results: Sequence[ChunkResult | None] = [None] * len(batches)
        failed: Outcome | None = None
        try:
            results = await self._send([self._chunk(batch, reason) for batch in batches])
            for batch, result in zip(batches, results, strict=True):
                if result.batch_id is None:
                    continue
                self._computed(result.compute_s)
                self._metrics.batch_size.observe(len(batch), self.model_name, reason)
                self._metrics.batch_compute_seconds.observe(result.compute_s, self.model_name)
        except Exception as error:
            if not isinstance(error, ReplicaDied):
                logger.exception(
                    "A batch could not be run.", extra={"action": "batch_failed", "model": self.model_name}
                )
            failure = (
                error if isinstance(error, InferenceError) else InferenceError("the batch could not be run")
            )
            failed = Outcome(error=failure)
        finally:
            self._busy -= 1
            self._suspect_runs = self._suspect_runs and not suspect
            if self._busy == max(self.replicas, 1) - 1:
                self._room_since = self._clock()
            self._schedule_pump()
            self.on_room()
        for batch, result in zip(batches, results, strict=True):
            outcomes = [failed or Outcome()] * len(batch) if result is None else result.outcomes
            how = Batch(flush_reason=reason, result=result)
            for request, outcome in zip(batch, outcomes, strict=True):
                request.finished(outcome, how)

    def _chunk(self, batch: list[Request], reason: FlushReason) -> Chunk:
        full = reason is FlushReason.FULL and len(batch) == self.batching.max_batch_size
        items = [(request.data, request.config) for request in batch]
        return Chunk(items, flush=not full, alone=batch[0].suspect, version=batch[0].version)

    def _computed(self, took_s: float) -> None:
        before_s = took_s if self.compute_s is None else self.compute_s
        self.compute_s = before_s + _RECENT * (took_s - before_s)


def _rank(queue: OrderedDict[Request, float]) -> float:
    request, came_at = next(iter(queue.items()))
    return came_at - request.level * _STEP_S
