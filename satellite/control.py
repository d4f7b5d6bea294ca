"""What callers do with jobs that exist: list, look at, explain, cancel, repeat, delete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from satellite.access.callers import Caller
from satellite.errors import JobFinished, JobNotFinished, JobNotFound, SatelliteError, StoreUnavailable
from satellite.events import Wake
from satellite.explain import explain
from satellite.jobs import Job, JobStatus
from satellite.service import Service
from satellite.store import DeadLetters, JobFilter, StoredJob
from satellite.submission import Submission, Submitted

# How long a cancel waits for the ingress that holds the job, before it answers that it has been asked.
CANCEL_WAIT_S = 5.0
# Most are answered at once.
CANCEL_POLLS_S = (0.01, 0.02, 0.05, 0.1)
POLL_S = 0.25
DEAD_LETTER_GROUPS = 100


class JobControl:
    """Commands on jobs, for one ingress.

    Args:
        service: the ingress.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store

    async def list_jobs(
        self, tenant: str, wanted: JobFilter, *, before: UUID | None, limit: int
    ) -> list[Job]:
        """A tenant's jobs without their payloads, newest first, from `before` (exclusive) on."""
        return await self._store.list_jobs(tenant, wanted, before=before, limit=limit)

    async def get(self, job_id: UUID, tenant: str) -> StoredJob:
        """One job with everything that is stored of it.

        Raises:
            JobNotFound: there is no such job.
        """
        stored = await self._store.get_stored(job_id, tenant)
        if stored is None:
            raise JobNotFound(f"there is no job {job_id}")
        # Held here, it may be further than the database knows.
        held = self._service.held.find(job_id, tenant)
        if held is not None and not stored.job.status.is_terminal and not held.status.is_terminal:
            job = stored.job._replace(status=held.status, started_at=held.started_at, attempt=held.attempt)
            stored = replace(stored, job=job)
        return stored

    async def explain(self, job_id: UUID, tenant: str) -> dict[str, Any]:
        """Where a job's time went, and why: see `satellite.explain`.

        Raises:
            JobNotFound: there is no such job.
        """
        stored = await self.get(job_id, tenant)
        job = stored.job
        entry = self._service.catalog.get(job.model_name)
        position, eta_s = await self.expectation(stored)
        return explain(
            job,
            config=entry.config if entry else None,
            mates=await self._store.batch_mates(job),
            queue_position=position,
            eta_s=eta_s,
        )

    async def expectation(self, stored: StoredJob) -> tuple[int | None, float | None]:
        """How many jobs come before one that waits, and in how many seconds it will probably have ended."""
        job = stored.job
        queue = self._service.queues.get(job.model_name)
        if job.status is not JobStatus.QUEUED or queue is None:
            return None, None
        ahead = await self._store.ahead_of(stored)
        eta_s = queue.eta_s(ahead)
        if eta_s is not None and job.run_at is not None:
            eta_s += max(0.0, job.run_at.timestamp() - time.time())
        return ahead, None if eta_s is None else round(eta_s, 3)

    async def cancel(self, job_id: UUID, tenant: str) -> Job:
        """Cancel a job: see `cancel_all`.

        Raises:
            JobNotFound: there is no such job.
            JobFinished: it has ended otherwise.
            StoreUnavailable: it is not known whether it was cancelled.
        """
        (answer,) = await self.cancel_all([job_id], tenant)
        if isinstance(answer, SatelliteError):
            raise answer
        return answer

    async def cancel_all(self, job_ids: Sequence[UUID], tenant: str) -> list[Job | SatelliteError]:
        """Cancel jobs of a tenant, each for itself.

        Returns:
            For each, in order, the job: `cancelled`, and then it never runs if it had not started; or, if the
            ingress that holds it has not answered yet, as it is, with `cancel_requested`. Or why it cannot be
            cancelled: `JobNotFound`, `JobFinished`, or `StoreUnavailable` if it is not known whether it was.

        Raises:
            StoreUnavailable: the same of all.
        """
        cancel = self._service.held.cancel
        recordings = {id_: found for id_ in job_ids if (found := cancel(id_, tenant)) is not None}
        elsewhere = [id_ for id_ in dict.fromkeys(job_ids) if id_ not in recordings]
        await asyncio.gather(self._recorded(recordings.values()), self._cancel_elsewhere(elsewhere, tenant))
        unknown = {id_ for id_, recording in recordings.items() if not recording.done()}
        jobs = await self._store.get_many(
            [id_ for id_ in dict.fromkeys(job_ids) if id_ not in unknown], tenant
        )
        return [_unknown() if id_ in unknown else _cancelled(id_, jobs.get(id_)) for id_ in job_ids]

    async def _recorded(self, recordings: Iterable[asyncio.Future[bool]]) -> None:
        """Wait until these cancels are recorded, but not for ever."""
        if recordings := list(recordings):
            done, _ = await asyncio.wait(recordings, timeout=CANCEL_WAIT_S)
            for recording in done:
                recording.result()

    async def _cancel_elsewhere(self, job_ids: Sequence[UUID], tenant: str) -> None:
        if not job_ids:
            return
        cancelled, asked = await self._store.cancel(job_ids, tenant)
        for job in (await self._store.get_many(cancelled, tenant)).values():
            self._service.held.publish_ended(job)
        for job_id in asked:
            self._service.events.wake(Wake.CANCEL, str(job_id))
        deadline = time.monotonic() + CANCEL_WAIT_S
        pauses = iter(CANCEL_POLLS_S)
        while asked and time.monotonic() < deadline:
            await asyncio.sleep(next(pauses, POLL_S))
            jobs = await self._store.get_many(asked, tenant)
            asked = [job_id for job_id, job in jobs.items() if not job.status.is_terminal]

    async def retry(self, job_id: UUID, edits: dict[str, Any], caller: Caller) -> Submitted:
        """Repeat a job that has ended, as a new job with this one as its parent.

        Args:
            job_id: the job.
            edits: fields of `Submission` that take the place of what the job was given.
            caller: who repeats it.

        Raises:
            JobNotFound, JobNotFinished: there is nothing to repeat.
            SatelliteError: as `Service.submit`.
        """
        stored = await self.get(job_id, caller.tenant)
        if not stored.job.status.is_terminal:
            raise JobNotFinished(
                f"job {job_id} is {stored.job.status}; only one that has ended can be repeated"
            )
        webhooks = await self._store.webhooks.of_jobs([job_id])
        return await self._service.submit(
            _repeated(stored, {"webhook": webhooks.get(job_id), **edits}), caller
        )

    async def replay(
        self,
        caller: Caller,
        *,
        job_ids: Sequence[UUID] | None,
        model_name: str | None,
        error_code: str | None,
        limit: int,
    ) -> tuple[list[tuple[UUID, Submitted | SatelliteError]], int]:
        """Repeat dead jobs that have not been repeated yet, oldest first, in one transaction.

        Returns:
            For each its id and what came of it; and how many that fit the filters are left.
        """
        found = await self._store.replayable(
            caller.tenant, job_ids=job_ids, model_name=model_name, error_code=error_code, limit=limit
        )
        # The key makes two replays at the same time one. No caller can send one that looks like it.
        webhooks = await self._store.webhooks.of_jobs([stored.job.job_id for stored in found])
        submissions = [
            _repeated(
                stored,
                {
                    "webhook": webhooks.get(stored.job.job_id),
                    "idempotency_key": f"\x1freplay:{stored.job.job_id}",
                },
            )
            for stored in found
        ]
        answers = await self._service.submit_all(submissions, caller)
        remaining = await self._store.count_replayable(
            caller.tenant, job_ids=job_ids, model_name=model_name, error_code=error_code
        )
        return [(stored.job.job_id, answer) for stored, answer in zip(found, answers, strict=True)], remaining

    async def dead_letters(self, tenant: str) -> list[DeadLetters]:
        """A tenant's dead jobs that have not been repeated, by model and error; the largest group first."""
        return await self._store.dead_letters(tenant, limit=DEAD_LETTER_GROUPS)

    async def delete(self, job_id: UUID, tenant: str) -> None:
        """Delete a job that has ended, with its input and result.

        Raises:
            JobNotFound, JobNotFinished: there is nothing to delete.
        """
        if not await self._store.delete(job_id, tenant):
            job = (await self.get(job_id, tenant)).job
            raise JobNotFinished(f"job {job_id} is {job.status}; cancel it first")
        await self._service.events.forget(job_id, tenant)


def _repeated(stored: StoredJob, edits: dict[str, Any]) -> Submission:
    job = stored.job
    given: dict[str, Any] = {
        "model_name": job.model_name,
        "model_version": job.requested_version,
        "data": orjson.loads(stored.input),
        "config": orjson.loads(stored.config),
        "priority": job.priority,
        "labels": job.labels,
        "max_attempts": job.max_attempts,
        "parent_id": job.job_id,
    }
    return Submission(**{**given, **edits})


def _cancelled(job_id: UUID, job: Job | None) -> Job | SatelliteError:
    """What a cancel has come to, of a job as it is afterwards."""
    if job is None:
        return JobNotFound(f"there is no job {job_id}")
    if job.status.is_terminal and job.status is not JobStatus.CANCELLED:
        return JobFinished(f"job {job_id} has {job.status} already")
    return job


def _unknown() -> StoreUnavailable:
    return StoreUnavailable("the job will be cancelled once PostgreSQL answers again", retry_after_s=2)
