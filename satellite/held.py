"""The jobs that this ingress holds: from their commit, through their attempts, to the record of their end.

The writes of one job never overtake each other: its start is on record before its end or its next attempt is
written, and only one thing ends it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson

from satellite.batching import FlushReason, Outcome
from satellite.catalog import Catalog
from satellite.discreet import discreet
from satellite.dispatch import ModelQueue
from satellite.errors import (
    Cancelled,
    DeadlinePassed,
    InferenceError,
    InvalidOutput,
    ReplicaDied,
    SatelliteError,
    StoreUnavailable,
    VersionFailed,
)
from satellite.events import EventHub
from satellite.fairness import Tally
from satellite.groupcommit import GroupCommit, as_it_is
from satellite.jobs import Job, JobStatus, Step, ended_attempt, past_attempts, storable
from satellite.lanes import Batch
from satellite.metrics import Metrics
from satellite.recent import RecentJobs
from satellite.requests import JobRequest
from satellite.store import Completion, Requeue, Start, Store, StoredJob
from satellite.tasks import Background

logger = logging.getLogger(__name__)

# A job that computes for less than this is never written as `running` first: its completion says it all.
START_WRITE_DELAY_S = 0.25
# What PostgreSQL can hold in one field.
MAX_RESULT_BYTES = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a job ended, on its way into the database."""

    came_at_s: float  # monotonic
    request: JobRequest
    status: JobStatus
    error: InferenceError | None
    outcome: Outcome | None
    batch: Batch | None

    def completion(self) -> Completion:
        request, job = self.request, self.request.job
        result = self.batch and self.batch.result
        output = self.outcome and self.outcome.output
        return Completion(
            job_id=job.job_id,
            attempt=job.attempt,
            owner=request.owner,
            status=self.status,
            started_at=datetime.fromtimestamp(result.started_at_s, UTC) if result else job.started_at,
            start_recorded=request.start_write is not None,
            model_version=result.model_version if result else None,
            result=None if output is None else output.decode(),
            error=None if self.error is None else error_json(self.error).decode(),
            run=request.run(self.batch),
        )


class HeldJobs:
    """The jobs of one ingress.

    Args:
        owner: the lease that jobs are held under now.
        catalog: the models' settings.
        queues: where jobs wait for a batch.
        store: where everything is recorded.
        events: whom it is told.
        metrics: where it is counted.
        lane: the version that the queue is told, of a model and the version that a job asks for.
        recent_s: how long an ended job is answered from memory, at most.

    Attributes:
        size_bytes: of the inputs of all that is held, by tenant.
    """

    def __init__(
        self,
        owner: Callable[[], UUID],
        *,
        catalog: Catalog,
        queues: Mapping[str, ModelQueue],
        store: Store,
        events: EventHub,
        metrics: Metrics,
        lane: Callable[[str, str | None], str | None],
        recent_s: float,
    ) -> None:
        self.size_bytes = Tally()
        self._owner = owner
        self._catalog = catalog
        self._queues = queues
        self._store = store
        self._events = events
        self._metrics = metrics
        self._lane = lane
        self.recent = RecentJobs(max_age_s=recent_s)
        self._requests: dict[UUID, JobRequest] = {}
        self._background = Background()
        self._ends: GroupCommit[_End, bool] = GroupCommit(self._record, shared=StoreUnavailable)

    @property
    def owner(self) -> UUID:
        """The lease that jobs are held under now."""
        return self._owner()

    @property
    def ids(self) -> list[UUID]:
        """The jobs that are held."""
        return list(self._requests)

    def find(self, job_id: UUID, tenant: str) -> Job | None:
        """The tenant's job as it is now, if it is held here or has just ended here."""
        request = self._requests.get(job_id)
        job = self.recent.find(job_id) if request is None else request.job
        return None if job is None or job.tenant != tenant else job

    def __contains__(self, job_id: UUID) -> bool:
        return job_id in self._requests

    # In

    def hold(self, request: JobRequest, *, waited_s: float = 0) -> None:
        """Queue a stored job, for its first attempt or a further one."""
        if request.owner != self.owner:
            self._forget(request)
            return  # the lease was lost meanwhile: whoever claims the job runs it
        job = request.job
        self._add(request)
        if self.expire_if_late(request):
            return
        queue = self._queues[job.model_name]
        if job.deadline_at is not None:
            left_s = (job.deadline_at - datetime.now(UTC)).total_seconds()
            if left_s <= queue.batching.batch_wait_timeout_s and request.urgent is None:
                request.urgent = FlushReason.DEADLINE
            request.timer = asyncio.get_running_loop().call_later(left_s, self._deadline_came, request)
        queue.put(request, waited_s=waited_s)

    def adopt(self, stored: StoredJob) -> None:
        """Hold a job that was claimed from the database."""
        job = stored.job
        request = JobRequest(
            self,
            job,
            data=stored.input,
            config=stored.config,
            size_bytes=len(stored.input.encode()) + len(stored.config.encode()),
            owner=self.owner,
            ready_at_s=(job.run_at or job.created_at).timestamp(),
            suspect=any(past["code"] == ReplicaDied.code for past in past_attempts(job)),
        )
        try:
            request.version = self._lane(job.model_name, job.requested_version)
        except VersionFailed as error:
            self._add(request)
            self._end(request, JobStatus.FAILED, error)
            return
        if job.cancel_requested:
            self._add(request)
            self._end(request, JobStatus.CANCELLED, Cancelled("it was cancelled before it started"))
        else:
            self.hold(request, waited_s=max(0.0, time.time() - request.ready_at_s))

    # Through its attempts

    def started(self, request: JobRequest) -> None:
        """A replica has been given the job."""
        request.stop_timer()
        request.job = request.job._replace(status=JobStatus.RUNNING, started_at=datetime.now(UTC))
        asyncio.get_running_loop().call_later(START_WRITE_DELAY_S, self._record_start, request, request.job)

    def _record_start(self, request: JobRequest, job: Job) -> None:
        if request.job is job and not request.ended and request.requeue_write is None:
            request.start_write = self._background.spawn(self._write_start(request, job))

    async def _write_start(self, request: JobRequest, job: Job) -> None:
        assert job.started_at is not None
        await self._store.start(
            Start(job_id=job.job_id, attempt=job.attempt, owner=request.owner, started_at=job.started_at)
        )
        self.publish(job, job.started_at)

    def finished(self, request: JobRequest, outcome: Outcome, batch: Batch) -> None:
        """A job has its outcome: record it, or begin the next attempt."""
        error = outcome.error
        if request.ended:
            return  # it was cancelled meanwhile: the result is discarded
        if error is not None and error.retryable and request.job.attempt < request.job.max_attempts:
            request.requeue_write = self._background.spawn(self._retry(request, error, batch))
            return
        status = JobStatus.SUCCEEDED
        if error is not None:
            status = JobStatus.DEAD if error.retryable else JobStatus.FAILED
        self._end(request, status, error, outcome=outcome, batch=batch)

    async def _retry(self, request: JobRequest, error: InferenceError, batch: Batch) -> None:
        """Begin the next attempt after a while; alone, if this job may be what killed its replica."""
        job = request.job
        config = self._catalog[job.model_name].config
        delay_s = min(config.retry_delay_s * 2 ** (job.attempt - 1), config.max_retry_delay_s)
        delay_s *= random.uniform(0.5, 1.5)
        ended_at = datetime.now(UTC)
        start_recorded = await self._start_recorded(request)
        ended = ended_attempt(
            job,
            owner=request.owner,
            ended_at=ended_at,
            code=error.code,
            detail=error.detail,
            replica_id=batch.result and batch.result.replica_id,
        )
        is_held = await self._store.requeue(
            Requeue(
                job_id=job.job_id,
                attempt=job.attempt,
                owner=request.owner,
                started_at=job.started_at,
                start_recorded=start_recorded,
                ended=ended.decode(),
                delay_s=delay_s,
            )
        )
        request.start_write = request.requeue_write = None
        if not is_held:
            self._forget(request)
            return
        self._metrics.jobs_retried.add(job.model_name)
        logger.warning(
            "An attempt failed; the job is run again.",
            extra={
                "action": "job_retried",
                "job_id": str(job.job_id),
                "model": job.model_name,
                "attempt": job.attempt,
                "error": error.code,
            },
        )
        if not start_recorded and job.started_at is not None:
            self.publish(job, job.started_at)
        request.job = job._replace(
            status=JobStatus.QUEUED,
            attempt=job.attempt + 1,
            started_at=None,
            run_at=ended_at + timedelta(seconds=delay_s),
            attempts=b"[" + ended + b"]" if job.attempts is None else job.attempts[:-1] + b"," + ended + b"]",
        )
        request.suspect = isinstance(error, ReplicaDied)
        request.ready_at_s = time.time() + delay_s
        self.publish(request.job, ended_at)
        request.timer = asyncio.get_running_loop().call_later(delay_s, self._backoff_over, request)

    def _backoff_over(self, request: JobRequest) -> None:
        request.timer = None
        if not request.ended:
            self.hold(request)

    # Out

    def cancel(self, job_id: UUID, tenant: str | None = None) -> asyncio.Future[bool] | None:
        """Cancel a job that is held. One that waits never runs; of one that runs the result is discarded.

        Args:
            job_id: the job.
            tenant: whose it must be; None: it is in the database that its tenant wants it cancelled.

        Returns:
            The recording of it, which is True once it is cancelled; None if it is not held, or is ending.
        """
        request = self._requests.get(job_id)
        if request is None or request.ended or request.owner != self.owner:
            return None
        if tenant is not None and request.job.tenant != tenant:
            return None
        if request.requeue_write is not None:
            return self._background.spawn(self._cancel_after_requeue(request))
        return self._cancel(request)

    def _cancel(self, request: JobRequest) -> asyncio.Future[bool]:
        self._queues[request.job.model_name].remove(request)
        runs = request.job.status is JobStatus.RUNNING
        detail = "it was cancelled while it ran" if runs else "it was cancelled before it started"
        return self._end(request, JobStatus.CANCELLED, Cancelled(detail))

    async def _cancel_after_requeue(self, request: JobRequest) -> bool:
        if request.requeue_write is not None:
            await request.requeue_write
        if request.ended or self._requests.get(request.job.job_id) is not request:
            return False
        return await self._cancel(request)

    def expire_if_late(self, request: JobRequest) -> bool:
        """End a job that must not start any more; True if it is one."""
        deadline_at = request.job.deadline_at
        if deadline_at is None or datetime.now(UTC) < deadline_at:
            return False
        self._expire(request)
        return True

    def _deadline_came(self, request: JobRequest) -> None:
        request.timer = None
        # The loop's clock and the calendar's may differ a little: the job is late now.
        if self._queues[request.job.model_name].remove(request) and request.owner == self.owner:
            self._expire(request)

    def _expire(self, request: JobRequest) -> None:
        self._end(request, JobStatus.EXPIRED, DeadlinePassed("its deadline passed before it could start"))

    def _end(
        self,
        request: JobRequest,
        status: JobStatus,
        error: InferenceError | None,
        *,
        outcome: Outcome | None = None,
        batch: Batch | None = None,
    ) -> asyncio.Future[bool]:
        """Record how a job ended. From here on nothing else can end it."""
        request.ended = True
        request.stop_timer()
        end = _End(
            came_at_s=time.monotonic(),
            request=request,
            status=status,
            error=error,
            outcome=outcome,
            batch=batch,
        )
        if request.start_write is None:
            return self._ends.add(end, as_it_is)
        return self._background.spawn(self._end_after_start(end, request.start_write))

    async def _end_after_start(self, end: _End, start_write: asyncio.Task[None]) -> bool:
        await start_write
        return await self._ends.submit(end)

    async def _record(self, ends: Sequence[_End]) -> list[bool]:
        """Record ends in one statement, and tell of them. False for a job that others hold by now."""
        completions = [end.completion() for end in ends]
        try:
            finished = await self._store.complete(completions)
        except Exception as refusal:
            if len(ends) > 1:
                raise  # each by itself
            # Whatever it is that PostgreSQL refuses: the job must end, and its caller hear of it.
            (end,) = ends
            job = end.request.job
            logger.error(
                "A result could not be stored.",
                exc_info=discreet(refusal),
                extra={"action": "result_refused", "job_id": str(job.job_id), "model": job.model_name},
            )
            error = InvalidOutput("the model's answer could not be stored; see the ingress's log")
            ends = [replace(end, status=JobStatus.FAILED, error=error, outcome=None)]
            completions = [ends[0].completion()]
            finished = await self._store.complete(completions)
        return [
            self._recorded(end, completion, finished_at)
            for end, completion, finished_at in zip(ends, completions, finished, strict=True)
        ]

    def _recorded(self, end: _End, completion: Completion, finished_at: datetime | None) -> bool:
        request = end.request
        self._forget(request)
        job = request.job
        if finished_at is None:
            logger.warning(
                "A result was discarded: this attempt no longer holds the job.",
                extra={"action": "stale_completion", "job_id": str(job.job_id), "attempt": job.attempt},
            )
            return False
        ended = job._replace(
            status=completion.status,
            started_at=completion.started_at,
            finished_at=finished_at,
            model_version=completion.model_version,
            result=None if completion.result is None else completion.result.encode(),
            error=None if completion.error is None else completion.error.encode(),
            run=completion.run,
        )
        self.recent.add(ended)
        self._count(ended)
        self._metrics.record_seconds.observe(time.monotonic() - end.came_at_s, "end")
        if completion.started_at is not None:
            wait_s = completion.started_at.timestamp() - request.ready_at_s
            self._metrics.job_wait_seconds.observe(max(0.0, wait_s), job.model_name)
        self.publish(ended, finished_at)
        return True

    async def _start_recorded(self, request: JobRequest) -> bool:
        """Whether this attempt's start is on record; waits if it is being written."""
        if request.start_write is None:
            return False
        await request.start_write
        return True

    def publish(self, job: Job, at: datetime) -> None:
        """Tell who watches the job that it has come to where it is now."""
        step = Step(attempt=job.attempt, status=job.status, at=at)
        self._events.publish(job.job_id, job.tenant, step, job.to_json() if job.status.is_terminal else None)

    async def publish_stored(self, job_id: UUID) -> None:
        """Tell who watches a job whose end was recorded without its being held."""
        for job, _ in (await self._store.ended_jobs([job_id], max_result_bytes=MAX_RESULT_BYTES)).values():
            self.publish_ended(job)

    def publish_ended(self, job: Job) -> None:
        """The same, of a job that was read already."""
        if job.finished_at is not None:
            self._count(job)
            self.publish(job, job.finished_at)

    def _count(self, ended: Job) -> None:
        assert ended.finished_at is not None
        total_s = (ended.finished_at - ended.created_at).total_seconds()
        self._metrics.job_ended(ended.model_name, ended.status, total_s)

    # All of them

    def drop_waiting(self) -> None:
        """The lease was lost: what waits is others' now. What runs is fenced when it ends."""
        for queue in self._queues.values():
            queue.clear_jobs()
        for request in list(self._requests.values()):
            if not request.ended and request.job.status is JobStatus.QUEUED:
                request.stop_timer()
                self._forget(request)

    async def finish(self) -> None:
        """Stop the timers, and wait until everything that has ended is recorded."""
        for request in self._requests.values():
            request.stop_timer()
        await self._background.finish()
        await self._ends.close()

    def _add(self, request: JobRequest) -> None:
        before = self._requests.get(request.job.job_id)
        self._requests[request.job.job_id] = request
        self.size_bytes.add(request.tenant, request.size_bytes - (before.size_bytes if before else 0))

    def _forget(self, request: JobRequest) -> None:
        if self._requests.get(request.job.job_id) is request:
            del self._requests[request.job.job_id]
            self.size_bytes.add(request.tenant, -request.size_bytes)


def error_json(error: SatelliteError) -> bytes:
    """The wire form of a job's error."""
    return orjson.dumps({"code": error.code, "title": error.title, "detail": storable(error.detail)})
