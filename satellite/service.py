"""The way of a job: admit, record, dispatch, record. Everything else is around this.

::

    submit():    validate -> INSERT (group commit) -> put into the model's queue -> 202 + id
    ModelQueue:  8 or 2 s -> one handle call -> replica: @serve.batch -> infer
    _record():   fenced UPDATE (group commit) -> Redis cache and events -> watchers
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from satellite.batching import Outcome
from satellite.catalog import Catalog, ValidRequest
from satellite.dispatch import Batch, ModelQueue
from satellite.errors import JobNotFound, ReplicaDied, SatelliteError, WaitTimeout
from satellite.events import EventHub, JobEvent, job_channel
from satellite.jobs import DEFAULT_TENANT, Job, JobStatus, new_job_id
from satellite.lease import Lease
from satellite.metrics import Metrics
from satellite.requests import JobRequest, PredictRequest
from satellite.store import Completion, NewJob, Orphan, Start, Store

logger = logging.getLogger(__name__)

# A job that computes for less than this is never written as `running`: its completion says it all.
START_WRITE_DELAY_S = 0.05
# How often a waiting caller looks at PostgreSQL, should an event have been lost (Redis away, say).
POLL_S = 1.0
# Callers mostly ask for a result on the ingress that has just recorded it: these are answered from memory.
RECENT_JOBS = 1000
# Before the next attempt of a job whose replica died: doubled each time, with jitter.
RETRY_DELAY_S = 0.2


class Service:
    """Everything an ingress does for its callers, free of HTTP and of Ray."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        queues: dict[str, ModelQueue],
        store: Store,
        events: EventHub,
        metrics: Metrics,
    ) -> None:
        self.catalog = catalog
        self.queues = queues
        self.store = store
        self.events = events
        self._lease = Lease(
            store, list(catalog), adopt=self._adopt, bury=self._bury, lost=lambda: self._active.clear()
        )
        self._metrics = metrics
        self._active: dict[UUID, Job] = {}  # jobs of this ingress that have not ended, as they are now
        self._recent: OrderedDict[UUID, Job] = OrderedDict()  # the last ones that ended here
        self._background: set[asyncio.Task[Any]] = set()
        self.draining = asyncio.Event()  # set when this ingress is about to leave

    @property
    def owner(self) -> UUID:
        """This ingress, for its lease and the fence on its completions."""
        return self._lease.owner

    async def submit(self, model_name: str, data: Any, config: dict[str, Any], *, flush: bool = False) -> Job:
        """Accept a job. When this returns, the job is committed in PostgreSQL.

        Args:
            model_name: which model.
            data: the model's input, as JSON values.
            config: the model's config, as JSON values.
            flush: do not wait for a batch to fill.

        Raises:
            ModelNotFound, InvalidRequest, QueueFull, StoreUnavailable: it was not accepted.
        """
        entry = self.catalog.find(model_name)
        request = entry.validate(data, config)
        queue = self.queues[model_name]
        queue.admit()
        job_id, created_at = new_job_id()
        job = Job(
            job_id=job_id,
            tenant=DEFAULT_TENANT,
            model_name=model_name,
            status=JobStatus.QUEUED,
            attempt=1,
            max_attempts=entry.config.max_attempts,
            created_at=created_at,
        )
        # Shielded: a caller that hangs up during the commit must not leave a committed job that nobody runs.
        await asyncio.shield(self._spawn(self._accept(job, request, flush)))
        return job

    async def _accept(self, job: Job, request: ValidRequest, flush: bool) -> None:
        owner = self.owner
        await self.store.insert(
            NewJob(
                job_id=job.job_id,
                tenant=job.tenant,
                model_name=job.model_name,
                input=request.data_json,
                config=request.config_json,
                attempt=job.attempt,
                max_attempts=job.max_attempts,
                owner=owner,
                created_at=job.created_at,
            )
        )
        self._metrics.job_submitted(job.model_name)
        self._enqueue(job, request.data, request.config, owner, at=job.created_at, flush=flush)

    def job_started(self, request: JobRequest) -> None:
        """A replica has been given the job."""
        now = datetime.now(UTC)
        request.job = replace(request.job, status=JobStatus.RUNNING, started_at=now)
        self._active[request.job.job_id] = request.job
        self._publish(request.job, now)
        asyncio.get_running_loop().call_later(
            START_WRITE_DELAY_S, self._record_start, request.job, request.owner
        )

    def _record_start(self, job: Job, owner: UUID) -> None:
        if self._active.get(job.job_id) is job:
            assert job.started_at is not None
            start = Start(job_id=job.job_id, attempt=job.attempt, owner=owner, started_at=job.started_at)
            self._spawn(self.store.start(start))

    def job_finished(self, request: JobRequest, outcome: Outcome, batch: Batch) -> None:
        """A job has its outcome: record it, then tell. One whose replica died under it is run again."""
        if isinstance(outcome.error, ReplicaDied) and request.job.attempt < request.job.max_attempts:
            self._spawn(self._retry(request))
        else:
            self._spawn(self._record(request.job, request.owner, outcome, batch))

    async def _retry(self, request: JobRequest) -> None:
        """Begin the next attempt, alone: if this job is what kills replicas, it takes no other with it."""
        job = request.job
        await asyncio.sleep(RETRY_DELAY_S * 2 ** (job.attempt - 1) * random.uniform(0.5, 1.5))
        if not await self.store.requeue(job.job_id, job.attempt, request.owner):
            self._forget(job)
            return
        logger.warning(
            "A replica died under a job; it is run again.",
            extra={"action": "job_retried", "job_id": str(job.job_id), "attempt": job.attempt + 1},
        )
        again = replace(job, status=JobStatus.QUEUED, attempt=job.attempt + 1, started_at=None)
        self._enqueue(again, request.data, request.config, request.owner, at=datetime.now(UTC), alone=True)

    def _enqueue(
        self,
        job: Job,
        data: Any,
        config: dict[str, Any],
        owner: UUID,
        *,
        at: datetime,
        flush: bool = False,
        alone: bool = False,
    ) -> None:
        """Queue a stored job that `owner` holds, for its first attempt or a further one."""
        if owner != self.owner:
            return  # the lease ran out while the job was being written: whoever claims it runs it
        self._active[job.job_id] = job
        self._publish(job, at)
        request = JobRequest(self, job, data=data, config=config, owner=owner, flush=flush, alone=alone)
        self.queues[job.model_name].put(request)

    async def _record(self, job: Job, owner: UUID, outcome: Outcome, batch: Batch) -> None:
        result = batch.result
        running = job
        job = replace(
            job,
            status=_final_status(job, outcome),
            started_at=datetime.fromtimestamp(result.started_at_s, UTC) if result else job.started_at,
            finished_at=datetime.now(UTC),
            model_version=result.model_version if result else None,
            result=outcome.output,
            error=None if outcome.error is None else error_json(outcome.error),
        )
        assert job.finished_at is not None
        recorded = await self.store.complete(
            Completion(
                job_id=job.job_id,
                attempt=job.attempt,
                owner=owner,
                status=job.status,
                started_at=job.started_at,
                finished_at=job.finished_at,
                model_version=job.model_version,
                result=job.result.decode() if job.result is not None else None,
                error=job.error.decode() if job.error is not None else None,
                batch_id=UUID(result.batch_id) if result else None,
                batch_size=result.batch_size if result else None,
                flush_reason=batch.flush_reason,
            )
        )
        self._forget(running)
        if recorded:
            self._recent[job.job_id] = job
            if len(self._recent) > RECENT_JOBS:
                self._recent.popitem(last=False)
            total_s = (job.finished_at - job.created_at).total_seconds()
            self._metrics.job_finished(job.model_name, job.status, total_s)
            self._publish(job, job.finished_at)
        else:
            logger.warning(
                "A result was discarded: this attempt no longer holds the job.",
                extra={"action": "stale_completion", "job_id": str(job.job_id), "attempt": job.attempt},
            )

    async def predict(self, model_name: str, data: Any, config: dict[str, Any], *, wait_s: float) -> bytes:
        """Compute now, without storing anything.

        Returns:
            The wire form of a finished job, with no `job_id`.

        Raises:
            ModelNotFound, InvalidRequest, QueueFull: it was not accepted.
            WaitTimeout: no answer within `wait_s`.
        """
        created_at, began = datetime.now(UTC), time.monotonic()
        request = PredictRequest(self.catalog.find(model_name).validate(data, config))
        queue = self.queues[model_name]
        queue.admit()
        queue.put(request)
        try:
            async with asyncio.timeout(wait_s):
                outcome, batch = await request.answer
        except TimeoutError:
            raise WaitTimeout(
                f"no answer within {wait_s:g} s; raise wait_s, or submit it as a job", retry_after_s=1
            ) from None
        status = JobStatus.SUCCEEDED if outcome.error is None else JobStatus.FAILED
        self._metrics.predict_finished(model_name, status, time.monotonic() - began)
        return orjson.dumps(
            {
                "job_id": None,
                "status": status,
                "model_name": model_name,
                "model_version": batch.result and batch.result.model_version,
                "result": outcome.output and orjson.Fragment(outcome.output),
                "error": outcome.error and orjson.Fragment(error_json(outcome.error)),
                "attempt": 1,
                "created_at": created_at,
                "started_at": batch.result and datetime.fromtimestamp(batch.result.started_at_s, UTC),
                "finished_at": datetime.now(UTC),
            },
            option=orjson.OPT_UTC_Z,
        )

    async def result(self, job_id: UUID, *, wait_s: float = 0) -> tuple[JobStatus, bytes]:
        """The job as it is now, or as it is when it ends, if that is within `wait_s`.

        Returns:
            Its status and its wire form.

        Raises:
            JobNotFound: there is no such job.
            StoreUnavailable: PostgreSQL is needed and does not answer.
        """
        status, body = await self._read(job_id)
        if status.is_terminal or wait_s <= 0:
            return status, body
        deadline = time.monotonic() + wait_s
        async with self.events.subscribe(job_channel(job_id)) as subscription:
            while True:
                status, body = await self._read(job_id)
                left_s = deadline - time.monotonic()
                if status.is_terminal or left_s <= 0 or self.draining.is_set():
                    return status, body
                await subscription.get(min(left_s, POLL_S))

    async def watch(self, job_id: UUID) -> AsyncGenerator[bytes]:
        """The job as it is now, then every change to the terminal one, each as a message in wire form.

        The first message and the last one carry the whole job.

        Raises:
            JobNotFound, StoreUnavailable: as `result`.
            SlowReader: whoever iterates cannot keep up.
        """
        async with self.events.subscribe(job_channel(job_id)) as subscription:
            seen = (0, -1)
            event: JobEvent | None = None
            while True:
                if event is not None and not event.status.is_terminal:
                    seen = event.order
                    yield orjson.dumps(
                        {"type": "job", **event.to_dict(), "job": None}, option=orjson.OPT_UTC_Z
                    )
                else:  # the start, the end, or a look at the truth because nothing was heard for a while
                    status, body = await self._read(job_id)
                    fields = orjson.loads(body)
                    order = (fields["attempt"], status.rank)
                    if order > seen:
                        seen = order
                        yield _job_message(fields, body)
                    if status.is_terminal:
                        return
                event = await subscription.get(POLL_S)
                while event is not None and event.order <= seen:
                    event = await subscription.get(POLL_S)

    async def _read(self, job_id: UUID) -> tuple[JobStatus, bytes]:
        active = self._active.get(job_id)
        if active is not None:
            return active.status, active.to_json()
        recent = self._recent.get(job_id)
        if recent is not None:
            return recent.status, recent.to_json()
        cached = await self.events.cached_result(job_id)
        if cached is not None:
            return JobStatus(orjson.loads(cached)["status"]), cached
        job = await self.store.get(job_id, DEFAULT_TENANT)
        if job is None:
            raise JobNotFound(f"there is no job {job_id}")
        return job.status, job.to_json()

    async def start(self) -> None:
        """Begin to look after this ingress's lease and the jobs of ingresses that were lost."""
        await self.events.start()
        await self._lease.start()

    def _adopt(self, orphan: Orphan) -> None:
        # One that has been tried before may be what killed the replicas it ran on.
        data, config = orjson.loads(orphan.input), orjson.loads(orphan.config)
        alone = orphan.job.attempt > 1
        self._enqueue(orphan.job, data, config, self.owner, at=datetime.now(UTC), alone=alone)

    def _bury(self, job: Job) -> None:
        assert job.finished_at is not None
        self._publish(job, job.finished_at)

    def drain(self) -> None:
        """This ingress is about to leave: whoever waits here is let go, to wait at another one."""
        self.draining.set()

    async def close(self) -> None:
        """Finish what replicas are computing, record it, hand the rest back, and disconnect."""
        self.drain()
        await asyncio.gather(*(queue.close() for queue in self.queues.values()))
        while self._background:
            await asyncio.gather(*self._background, return_exceptions=True)
        await self._lease.close()
        await self.store.close()
        await self.events.close()

    def _forget(self, job: Job) -> None:
        """It is no longer active here, unless a later attempt of it is."""
        if self._active.get(job.job_id) is job:
            del self._active[job.job_id]

    def _publish(self, job: Job, at: datetime) -> None:
        event = JobEvent(
            job_id=str(job.job_id), model_name=job.model_name, status=job.status, attempt=job.attempt, at=at
        )
        self.events.publish(event, job.to_json() if job.status.is_terminal else None)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _final_status(job: Job, outcome: Outcome) -> JobStatus:
    if outcome.error is None:
        return JobStatus.SUCCEEDED
    return JobStatus.DEAD if isinstance(outcome.error, ReplicaDied) else JobStatus.FAILED


def _job_message(fields: dict[str, Any], body: bytes) -> bytes:
    at = fields["finished_at"] or fields["started_at"] or fields["created_at"]
    head = {key: fields[key] for key in ("job_id", "model_name", "status", "attempt")}
    return orjson.dumps({"type": "job", **head, "at": at, "job": orjson.Fragment(body)})


def error_json(error: SatelliteError) -> bytes:
    """The wire form of a job's error."""
    return orjson.dumps({"code": error.code, "title": error.title, "detail": error.detail})
