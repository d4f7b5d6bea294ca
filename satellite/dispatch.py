"""The queue of one model in one ingress: forms batches and hands them to replicas that have room.

The contract is 8 requests or 2 seconds, whichever comes first. The work stays here until a replica can take
it (late binding): a batch cut while every replica is busy would leave half full, and one bound to a replica
early would wait behind a slow one. Each replica is given one batch to run and, if it is full anyway, one to
have ready.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from satellite.batching import Chunk, ChunkResult, FlushReason, Outcome
from satellite.config import Batching
from satellite.errors import InferenceError, QueueFull, ReplicaDied
from satellite.metrics import Metrics, NoMetrics

logger = logging.getLogger(__name__)

READY_CHUNKS_PER_REPLICA = 2  # one running, one ready
RETRY_AFTER_S = 2


class Request(Protocol):
    """What the queue holds: something to compute that wants to hear what became of it."""

    data: Any
    config: dict[str, Any]
    flush: bool  # must not wait for a batch to fill
    alone: bool  # must not share a batch: a replica died under it before

    @property
    def abandoned(self) -> bool:
        """Nobody waits for it any more: it is dropped if it has not been handed over yet."""
        ...

    def dispatched(self) -> None:
        """It has been handed to a replica."""
        ...

    def finished(self, outcome: Outcome, batch: Batch) -> None:
        """It has an outcome."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How a request was computed. `result` is None if no replica answered."""

    flush_reason: FlushReason
    result: ChunkResult | None


class ModelQueue:
    """The queue of one model.

    Args:
        model_name: for messages and logs.
        batching: the model's batching settings.
        send: hands a chunk to some replica and returns its answer. It raises `ReplicaDied` if none came.
        max_queued: more waiting requests than this are refused.
        metrics: where batches are counted.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        model_name: str,
        batching: Batching,
        send: Callable[[Chunk], Awaitable[ChunkResult]],
        *,
        max_queued: int,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model_name = model_name
        self.batching = batching
        self.replicas = 1  # how many are running; whoever watches the cluster keeps this current
        self.compute_s: float | None = None  # how long the last batch computed
        self._send = send
        self._max_queued = max_queued
        self._metrics = metrics or NoMetrics()
        self._clock = clock
        self._waiting: deque[tuple[float, Request]] = deque()  # oldest first, with the time each came
        self._urgent = 0  # how many of the waiting carry the flush mark
        self._busy = 0  # how many chunks replicas hold
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pump_scheduled = False
        # A chunk is not its first caller's own: what a caller's context carries (Serve cancels the calls made
        # under a request whose client hangs up) must not reach the others in it.
        self._context = contextvars.copy_context()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def admit(self) -> None:
        """Check that one more request may wait.

        Raises:
            QueueFull: there are as many as `max_queued` already.
        """
        if len(self._waiting) >= self._max_queued:
            raise QueueFull(
                f"{len(self._waiting)} requests wait for '{self.model_name}' already; send it again later",
                retry_after_s=RETRY_AFTER_S,
            )

    def put(self, request: Request) -> None:
        """Queue a request. It is handed over in this turn of the event loop at the earliest."""
        if self._closed:
            return  # a stored job is handed back with the lease
        self._waiting.append((self._clock(), request))
        self._urgent += request.flush
        self._schedule_pump()

    def set_replicas(self, count: int) -> None:
        """Tell the queue how many replicas are running."""
        if count != self.replicas:
            self.replicas = count
            self._schedule_pump()

    async def close(self) -> None:
        """Wait for what replicas are computing. What still waits here stays queued."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        while self._waiting:
            reason = self._due()
            if reason is None:
                return
            batch = self._take(self.batching.max_batch_size)
            if batch:
                for request in batch:
                    request.dispatched()
                self._busy += 1
                task = asyncio.create_task(self._run(batch, reason))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _due(self) -> FlushReason | None:
        """Why a batch leaves now; None if it does not (then a timer or a returning batch asks again)."""
        size = self.batching.max_batch_size
        if self._waiting[0][1].alone:
            return FlushReason.FLUSH if self._busy < max(self.replicas, 1) else None
        if len(self._waiting) >= size:
            room = self._busy < READY_CHUNKS_PER_REPLICA * max(self.replicas, 1)
            return FlushReason.FULL if room else None
        if self._busy >= max(self.replicas, 1):
            return None
        if self._urgent or self.batching.flush == "idle":
            return FlushReason.FLUSH
        left_s = self._waiting[0][0] + self.batching.batch_wait_timeout_s - self._clock()
        if left_s <= 0:
            return FlushReason.TIMER
        self._timer = asyncio.get_running_loop().call_later(left_s, self._pump)
        return None

    def _take(self, count: int) -> list[Request]:
        taken: list[Request] = []
        while self._waiting and len(taken) < count:
            if taken and (taken[0].alone or self._waiting[0][1].alone):
                break
            _, request = self._waiting.popleft()
            self._urgent -= request.flush
            if not request.abandoned:
                taken.append(request)
        return taken

    async def _run(self, batch: list[Request], reason: FlushReason) -> None:
        items = [(request.data, request.config) for request in batch]
        full = reason is FlushReason.FULL and len(batch) == self.batching.max_batch_size
        chunk = Chunk(items, flush=not full, alone=batch[0].alone)
        result: ChunkResult | None = None
        try:
            result = await self._send(chunk)
            self.compute_s = result.compute_s
            self._metrics.batch_finished(self.model_name, reason, len(batch), result.compute_s)
            outcomes = list(result.outcomes)
        except Exception as error:
            if not isinstance(error, ReplicaDied):
                logger.exception(
                    "A batch could not be run.", extra={"action": "batch_failed", "model": self.model_name}
                )
            failure = (
                error if isinstance(error, InferenceError) else InferenceError("the batch could not be run")
            )
            outcomes = [Outcome(error=failure)] * len(batch)
        finally:
            self._busy -= 1
            self._schedule_pump()
        for request, outcome in zip(batch, outcomes, strict=True):
            request.finished(outcome, Batch(flush_reason=reason, result=result))
