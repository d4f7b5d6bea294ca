"""The queue of one model in one ingress: forms batches and hands them to replicas that have room.

The contract is 8 requests or 2 seconds, whichever comes first. The work stays here until a replica can take
it (late binding): a batch cut while every replica is busy would leave half full, and one bound to a replica
early would wait behind a slow one. Each replica is given one call to run and, if its batch is full anyway,
one to have ready. A call carries one batch; of a model that computes faster than a call takes, a few.

A batch is of one version of the model. `lanes.py` says which requests are in it, and which of the
batches that are due leaves first.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from satellite.batching import Chunk, ChunkResult, FlushReason, Outcome
from satellite.config import Batching
from satellite.errors import InferenceError, QueueFull, ReplicaDied
from satellite.fairness import Tally, has_room
from satellite.lanes import Batch, Lane, Line, Request, Taken, Waiting, oldest
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
# How much the last batch counts in the average of their durations.
_RECENT = 0.3


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
        elsewhere: how many requests for the model wait outside this queue, by tenant, as last seen.
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
        self.elsewhere = Tally()
        self.backlog = Tally()
        self.backlog_since_s: float | None = None
        self.gate: Callable[[], bool] = lambda: True
        self.draining = False
        self.on_room: Callable[[], None] = lambda: None
        self._send = send
        self._max_call_bytes = max_call_bytes
        self._metrics = metrics or Metrics()
        self._clock = clock
        self._waiting = Waiting()
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
        return len(self._waiting)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._waiting)

    @property
    def held(self) -> Tally:
        """How many requests wait here, by tenant."""
        return self._waiting.tally

    def admit(self, tenant: str, count: int = 1) -> None:
        """Check that a tenant may have `count` more requests waiting.

        Raises:
            QueueFull: `max_queued` wait already, and as many of them are this tenant's as its part is.
        """
        tallies = (self.held, self.elsewhere)
        if has_room(self.max_queued, tenant, count, *tallies):
            return
        waiting = sum(tally.total for tally in tallies)
        own = sum(tally[tenant] for tally in tallies)
        some = f"{waiting} requests wait for '{self.model_name}' already, and at most {self.max_queued} may"
        if own < waiting:  # how many there are of others is not for this one to know
            some = f"too many requests wait for '{self.model_name}', and {own} of them, your part, are yours"
        raise QueueFull(
            f"{some} (max_queued in its config); send it again later",
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
        self._waiting.put(request, self._clock() - waited_s)
        self._schedule_pump()

    def remove(self, request: Request) -> bool:
        """Take a request out again. Returns False if it does not wait here (any more)."""
        return self._waiting.remove(request)

    def ahead_of(self, level: int, tenant: str) -> int:
        """About how many requests would leave before one of this level and tenant that came now.

        Of the tenant's own: those that rank higher, and all that wait elsewhere. Of each other tenant:
        no more than have a turn meanwhile.
        """
        own = self._waiting.ahead_of(level, tenant, self._clock()) + self.elsewhere[tenant]
        held, elsewhere = self.held, self.elsewhere
        others = held.total - held[tenant] + elsewhere.total - elsewhere[tenant]
        tenants = max(len(tally) - (tally[tenant] > 0) for tally in (held, elsewhere))
        return own + min(others, tenants * (own + 1))

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
            lines = [line for lane in self._waiting.lanes.values() for line in lane.lines()]
            fill_s = max(0.0, self.batching.batch_wait_timeout_s - (self._wait_s(lines) or 0.0))
        return fill_s + (rounds + 1) * self.compute_s

    def oldest_wait_s(self) -> float | None:
        """For how long the oldest request that waits here has been able to run; None: none waits."""
        return self._wait_s(self._waiting.lines())

    def _wait_s(self, lines: Iterable[Line]) -> float | None:
        since = oldest(lines)
        return None if since is None else self._clock() - since

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
        self._waiting.clear_jobs()

    async def close(self) -> None:
        """Wait for what replicas are computing. What still waits here stays queued."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
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
        shut = not self.gate()
        suspects = self._waiting.suspects
        while not shut and suspects.count and not self._suspect_runs and self._has_free_replica:
            request, came_at = self._waiting.take_suspect()
            if request.is_wanted():
                self._suspect_runs = True
                self._hand_over([[(request, came_at)]], FlushReason.FLUSH)
        while (due := self._next(sync_only=shut)) is not None:
            lane, reason = due
            if batches := self._take_call(lane, reason, sync_only=shut):
                self._hand_over(batches, reason)
            self._waiting.tidy(lane)

    @property
    def _has_free_replica(self) -> bool:
        return self._busy < max(self.replicas, 1)

    def _next(self, *, sync_only: bool) -> tuple[Lane, FlushReason] | None:
        """The lane whose batch leaves now, and why it leaves.

        Args:
            sync_only: stored jobs may not leave.

        Returns:
            None if there is none: then a timer or a returning batch asks again.
        """
        if self._busy >= CALLS_PER_REPLICA * max(self.replicas, 1):
            return None
        free = self._has_free_replica
        lanes = self._waiting.lanes
        due: dict[Lane, FlushReason] = {}
        full = False
        next_s: float | None = None
        for lane in lanes.values():
            waiting = lane.count(sync_only=sync_only)
            if not waiting:
                continue
            if waiting >= self.batching.max_batch_size:
                full = True
                due[lane] = FlushReason.FULL
            elif free or len(lanes) > 1:
                reason, left_s = self._due(lane, sync_only=sync_only)
                if reason is not None:
                    due[lane] = reason
                elif next_s is None or left_s < next_s:
                    next_s = left_s
        # With every replica busy only full batches are made ready. But as long as there are such, none gets
        # free: so what is due in another lane takes its turn among them.
        if due and (free or full):
            lane = self._waiting.first(list(due), sync_only=sync_only)
            return lane, due[lane]
        if next_s is not None and free:
            self._timer = asyncio.get_running_loop().call_later(next_s, self._pump)
        return None

    def _due(self, lane: Lane, *, sync_only: bool) -> tuple[FlushReason | None, float]:
        """Why a batch that is not full leaves now; if it does not, in how many seconds it will."""
        if self.draining:
            return FlushReason.DRAIN, 0.0
        if lane.urgent[FlushReason.FLUSH] or self.batching.flush == "idle":
            return FlushReason.FLUSH, 0.0
        if lane.urgent[FlushReason.DEADLINE]:
            return FlushReason.DEADLINE, 0.0
        waited_s = self._wait_s(lane.lines(sync_only=sync_only)) or 0.0
        left_s = self.batching.batch_wait_timeout_s - waited_s
        return (FlushReason.TIMER if left_s <= 0 else None), left_s

    def _take_call(self, lane: Lane, reason: FlushReason, *, sync_only: bool) -> list[Taken]:
        """What the next call carries: one batch, or several full ones."""
        size = self.batching.max_batch_size
        most = 1
        if reason is FlushReason.FULL and self.compute_s is not None:
            most = max(1, min(MAX_BATCHES_PER_CALL, int(CALL_COMPUTE_S / max(self.compute_s, 1e-6))))
        batches: list[Taken] = []
        left_bytes = self._max_call_bytes
        while batch := self._waiting.take(lane, size, most_bytes=self._max_call_bytes, sync_only=sync_only):
            batches.append(batch)
            left_bytes -= sum(request.size_bytes for request, _ in batch)
            if (
                len(batches) == most
                or lane.count(sync_only=sync_only) < size
                or lane.next_bytes(size, sync_only=sync_only) > left_bytes
            ):
                break
        return batches

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
