"""The queue of one model in one ingress: forms batches and hands them to replicas that have room.

The contract is 8 requests or 2 seconds, whichever comes first. The work stays here until a replica can take
it (late binding): a batch cut while every replica is busy would leave half full, and one bound to a replica
early would wait behind a slow one. Each replica is given one call to run and, if its batch is full anyway,
one to have ready. A call carries one batch; of a model that computes faster than a call takes, a few.

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
from satellite.metrics import Metrics, NoMetrics
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
        self.gate: Callable[[], bool] = lambda: True
        self.draining = False
        self.on_room: Callable[[], None] = lambda: None
        self._send = send
        self._max_call_bytes = max_call_bytes
        self._metrics = metrics or NoMetrics()
        self._clock = clock
        # By level, oldest first, each with the time since when it could run.
        self._levels: list[OrderedDict[Request, float]] = [OrderedDict() for _ in range(SYNC + 1)]
        self._suspects: OrderedDict[Request, float] = OrderedDict()
        self._urgent: Counter[FlushReason] = Counter()
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
        return len(self._suspects) + sum(map(len, self._levels))

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
        queue = self._suspects if request.suspect else self._levels[request.level]
        queue[request] = self._clock() - waited_s
        if request.urgent:
            self._urgent[request.urgent] += 1
        self._schedule_pump()

    def remove(self, request: Request) -> bool:
        """Take a request out again. Returns False if it does not wait here (any more)."""
        queue = self._suspects if request.suspect else self._levels[request.level]
        if queue.pop(request, None) is None:
            return False
        if request.urgent:
            self._urgent[request.urgent] -= 1
        return True

    def ahead_of(self, level: int) -> int:
        """How many requests would leave before one of this level that came now."""
        now = self._clock()
        ahead = len(self._suspects) + sum(len(queue) for queue in self._levels[level:])
        for lower in range(level):
            for came_at in self._levels[lower].values():
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
            oldest = min(
                (came_at for queue in self._levels for came_at in list(queue.values())[:1]), default=None
            )
            waited_s = 0.0 if oldest is None else self._clock() - oldest
            fill_s = max(0.0, self.batching.batch_wait_timeout_s - waited_s)
        return fill_s + (rounds + 1) * self.compute_s

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
        for request in [r for queue in (self._suspects, *self._levels[:SYNC]) for r in queue]:
            self.remove(request)

    async def close(self) -> None:
        """Wait for what replicas are computing. What still waits here stays queued."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for queue in (self._suspects, *self._levels):
            queue.clear()
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
            request, came_at = self._pop(self._suspects)
            if request.is_wanted():
                self._suspect_runs = True
                self._hand_over([[(request, came_at)]], FlushReason.FLUSH)
        levels = self._levels if open_ else self._levels[SYNC:]
        while (reason := self._due(levels)) is not None:
            if batches := self._take_call(levels, reason):
                self._hand_over(batches, reason)

    @property
    def _has_free_replica(self) -> bool:
        return self._busy < max(self.replicas, 1)

    def _due(self, levels: list[OrderedDict[Request, float]]) -> FlushReason | None:
        """Why a batch leaves now; None if it does not (then a timer or a returning batch asks again)."""
        waiting = sum(map(len, levels))
        if not waiting:
            return None
        if waiting >= self.batching.max_batch_size:
            room = self._busy < CALLS_PER_REPLICA * max(self.replicas, 1)
            return FlushReason.FULL if room else None
        if not self._has_free_replica:
            return None
        if self.draining:
            return FlushReason.DRAIN
        if self._urgent[FlushReason.FLUSH] or self.batching.flush == "idle":
            return FlushReason.FLUSH
        if self._urgent[FlushReason.DEADLINE]:
            return FlushReason.DEADLINE
        oldest = min(next(iter(queue.values())) for queue in levels if queue)
        left_s = oldest + self.batching.batch_wait_timeout_s - self._clock()
        if left_s <= 0:
            return FlushReason.TIMER
        self._timer = asyncio.get_running_loop().call_later(left_s, self._pump)
        return None

    def _take_call(self, levels: list[OrderedDict[Request, float]], reason: FlushReason) -> list[Taken]:
        """What the next call carries: one batch, or several full ones."""
        size = self.batching.max_batch_size
        most = 1
        if reason is FlushReason.FULL and self.compute_s is not None:
            most = max(1, min(MAX_BATCHES_PER_CALL, int(CALL_COMPUTE_S / max(self.compute_s, 1e-6))))
        batches: list[Taken] = []
        left_bytes = self._max_call_bytes
        while batch := self._take(levels, size):
            batches.append(batch)
            left_bytes -= sum(request.size_bytes for request, _ in batch)
            # Those of the highest rank are among these: they take this much at most.
            next_bytes = sum(request.size_bytes for queue in levels for request in islice(queue, size))
            if len(batches) == most or sum(map(len, levels)) < size or next_bytes > left_bytes:
                break
        return batches

    def _take(self, levels: list[OrderedDict[Request, float]], count: int) -> Taken:
        """The requests of the highest rank that fit a call, each with the time since when it could run."""
        taken: Taken = []
        left_bytes = self._max_call_bytes
        while len(taken) < count and (waiting := [queue for queue in levels if queue]):
            queue = waiting[0] if len(waiting) == 1 else min(waiting, key=_rank)
            size_bytes = next(iter(queue)).size_bytes
            if size_bytes > left_bytes and taken:
                break
            request, came_at = self._pop(queue)
            if request.is_wanted():
                taken.append((request, came_at))
                left_bytes -= size_bytes
        return taken

    def _pop(self, queue: OrderedDict[Request, float]) -> tuple[Request, float]:
        request, came_at = queue.popitem(last=False)
        if request.urgent:
            self._urgent[request.urgent] -= 1
        return request, came_at

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
                self._computed(result.compute_s)
                self._metrics.batch_finished(self.model_name, reason, len(batch), result.compute_s)
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
        return Chunk(items, flush=not full, alone=batch[0].suspect)

    def _computed(self, took_s: float) -> None:
        before_s = took_s if self.compute_s is None else self.compute_s
        self.compute_s = before_s + _RECENT * (took_s - before_s)


def _rank(queue: OrderedDict[Request, float]) -> float:
    request, came_at = next(iter(queue.items()))
    return came_at - request.level * _STEP_S
