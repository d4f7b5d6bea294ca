"""What waits in a model's queue: a stored job, or a synchronous request. Both satisfy `lanes.Request`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import UUID

from satellite.batching import FlushReason, Outcome, Tensor
from satellite.catalog import ValidRequest
from satellite.errors import WaitTimeout
from satellite.jobs import Job, Run
from satellite.lanes import SYNC, Batch

if TYPE_CHECKING:
    from satellite.held import HeldJobs


class JobRequest:
    """A stored job that this ingress holds, from its commit to its end.

    Args:
        held: told of what happens to it.
        job: as it is now; replaced with every step.
        data: the model's input, as JSON.
        config: the model's config, as JSON.
        size_bytes: of both.
        version: which version of the model it runs on; None: the only one.
        owner: the lease it is held under.
        ready_at_s: since when it can run, seconds since the epoch.
        urgent: why it must not wait for a batch to fill, if so.
        suspect: a replica died under it before.
        admission_s: how long it took to make it durable.
    """

    def __init__(
        self,
        held: HeldJobs,
        job: Job,
        *,
        data: str,
        config: str,
        size_bytes: int,
        version: str | None = None,
        owner: UUID,
        ready_at_s: float,
        urgent: FlushReason | None = None,
        suspect: bool = False,
        admission_s: float | None = None,
    ) -> None:
        self.data = data
        self.config = config
        self.size_bytes = size_bytes
        self.version = version
        self.tenant = job.tenant
        self.level = job.priority
        self.urgent = urgent
        self.suspect = suspect
        self.owner = owner
        self.job = job
        self.ready_at_s = ready_at_s
        self.admission_s = admission_s
        self.fill_s = 0.0
        self.ended = False  # its end is being recorded: nothing else may end it now
        # Writes that are under way: those of one job never overtake each other.
        self.start_write: asyncio.Task[None] | None = None
        self.requeue_write: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None  # its deadline while it waits, or the end of a backoff
        self._held = held
        self._held_since_s = time.monotonic()

    def is_wanted(self) -> bool:
        """False if it has ended, if its deadline has passed, or if its lease was lost and others run it."""
        return not self.ended and self.owner == self._held.owner and not self._held.expire_if_late(self)

    def dispatched(self, fill_s: float) -> None:
        """Handed to a replica."""
        # A replica here may have been free all the while that the job waited elsewhere.
        self.fill_s = min(fill_s, time.monotonic() - self._held_since_s)
        self._held.started(self)

    def finished(self, outcome: Outcome, batch: Batch) -> None:
        """Has an outcome."""
        self._held.finished(self, outcome, batch)

    def stop_timer(self) -> None:
        """It has left the state that the timer was for."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def run(self, batch: Batch | None) -> Run:
        """How it was computed, for the record."""
        if batch is None:
            return Run(admission_s=self.admission_s)
        result = batch.result
        if result is None:
            return Run(admission_s=self.admission_s, flush_reason=batch.flush_reason, fill_s=self.fill_s)
        computed = result.batch_id is not None
        return Run(
            batch_id=UUID(result.batch_id) if result.batch_id else None,
            batch_size=result.batch_size if computed else None,
            flush_reason=batch.flush_reason,
            replica_id=result.replica_id,
            admission_s=self.admission_s,
            queue_s=max(0.0, result.started_at_s - self.ready_at_s - self.fill_s - result.load_s),
            load_s=result.load_s or None,
            fill_s=self.fill_s,
            compute_s=result.compute_s if computed else None,
        )


class PredictRequest:
    """A synchronous request that is not stored."""

    level = SYNC
    urgent: FlushReason | None = FlushReason.FLUSH
    suspect = False

    def __init__(self, request: ValidRequest[str | Tensor], version: str | None, tenant: str) -> None:
        self.version = version
        self.tenant = tenant
        self.data = request.data
        self.config = request.config
        self.size_bytes = request.size_bytes
        self.answer: asyncio.Future[tuple[Outcome, Batch]] = asyncio.get_running_loop().create_future()

    def give_up(self, wait_s: float) -> None:
        """The caller does not want to wait any longer."""
        if not self.answer.done():
            detail = f"no answer within {wait_s:g} s; raise wait_s, or submit it as a job"
            self.answer.set_exception(WaitTimeout(detail, retry_after_s=1))

    def is_wanted(self) -> bool:
        """False if its caller has gone, or waits no longer."""
        return not self.answer.done()

    def dispatched(self, fill_s: float) -> None:
        """Handed to a replica; nobody needs to know."""

    def finished(self, outcome: Outcome, batch: Batch) -> None:
        """Has an outcome."""
        if not self.answer.done():
            self.answer.set_result((outcome, batch))
