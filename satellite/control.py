"""What callers do with jobs that exist: list, look at, explain, cancel, repeat, delete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from satellite.errors import JobFinished, JobNotFinished, JobNotFound, SatelliteError, StoreUnavailable
from satellite.events import Wake
from satellite.explain import explain
from satellite.jobs import DEFAULT_TENANT, Job, JobStatus
from satellite.service import Service
from satellite.store import JobFilter, StoredJob
from satellite.submission import Submission, Submitted

# How long a cancel waits for the ingress that holds the job, before it answers that it has been asked.
CANCEL_WAIT_S = 5.0
POLL_S = 0.25


class JobControl:
    """Commands on jobs, for one ingress.

    Args:
        service: the ingress.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store

    async def list_jobs(self, wanted: JobFilter, *, before: UUID | None, limit: int) -> list[Job]:
        """Jobs without their payloads, newest first, from `before` (exclusive) on."""
        return await self._store.list_jobs(DEFAULT_TENANT, wanted, before=before, limit=limit)

    async def get(self, job_id: UUID) -> StoredJob:
        """One job with everything that is stored of it.

        Raises:
            JobNotFound: there is no such job.
        """
        stored = await self._store.get_stored(job_id, DEFAULT_TENANT)
        if stored is None:
            raise JobNotFound(f"there is no job {job_id}")
        # Held here, it may be further than the database knows.
        held = self._service.held.find(job_id)
        if held is not None and not stored.job.status.is_terminal and not held.status.is_terminal:
            job = stored.job._replace(status=held.status, started_at=held.started_at, attempt=held.attempt)
            stored = replace(stored, job=job)
        return stored

    async def explain(self, job_id: UUID) -> dict[str, Any]:
        """Where a job's time went, and why: see `satellite.explain`.

        Raises:
            JobNotFound: there is no such job.
        """
        stored = await self.get(job_id)
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

    async def cancel(self, job_id: UUID) -> Job:
        """Cancel a job.

        Returns:
            The job: `cancelled`, and then it never runs if it had not started; or, if the ingress that holds
            it has not answered yet, as it is, with `cancel_requested`.

        Raises:
            JobNotFound: there is no such job.
            JobFinished: it has ended otherwise.
            StoreUnavailable: it is not known whether it was cancelled.
        """
        recording = self._service.held.cancel(job_id)
        if recording is not None:
            try:
                async with asyncio.timeout(CANCEL_WAIT_S):
                    await asyncio.shield(recording)
            except TimeoutError:
                raise StoreUnavailable(
                    "the job will be cancelled once PostgreSQL answers again", retry_after_s=2
                ) from None
        else:
            await self._cancel_elsewhere(job_id)
        job = await self._store.get(job_id, DEFAULT_TENANT)
        if job is None:
            raise JobNotFound(f"there is no job {job_id}")
        if job.status.is_terminal and job.status is not JobStatus.CANCELLED:
            raise JobFinished(f"job {job_id} has {job.status} already")
        return job

    async def _cancel_elsewhere(self, job_id: UUID) -> None:
        cancelled = await self._store.cancel(job_id, DEFAULT_TENANT)
        if cancelled:
            await self._service.held.publish_stored(job_id)
        elif cancelled is None:
            self._service.events.wake(Wake.CANCEL, str(job_id))
            deadline = time.monotonic() + CANCEL_WAIT_S
            async with self._service.events.subscribe(job_id) as subscription:
                while time.monotonic() < deadline:
                    job = await self._store.get(job_id, DEFAULT_TENANT)
                    if job is None or job.status.is_terminal:
                        return
                    await subscription.get(POLL_S)

    async def retry(self, job_id: UUID, edits: dict[str, Any]) -> Submitted:
        """Repeat a job that has ended, as a new job with this one as its parent.

        Args:
            job_id: the job.
            edits: fields of `Submission` that take the place of what the job was given.

        Raises:
            JobNotFound, JobNotFinished: there is nothing to repeat.
            SatelliteError: as `Service.submit`.
        """
        stored = await self.get(job_id)
        if not stored.job.status.is_terminal:
            raise JobNotFinished(
                f"job {job_id} is {stored.job.status}; only one that has ended can be repeated"
            )
        return await self._service.submit(_repeated(stored, edits))

    async def replay(
        self,
        *,
        job_ids: Sequence[UUID] | None,
        model_name: str | None,
        error_code: str | None,
        limit: int,
    ) -> list[tuple[UUID, Submitted | SatelliteError]]:
        """Repeat dead jobs that have not been repeated yet, oldest first, in one transaction.

        Returns:
            For each its id and what came of it.
        """
        found = await self._store.replayable(
            DEFAULT_TENANT, job_ids=job_ids, model_name=model_name, error_code=error_code, limit=limit
        )
        # The key makes two replays at the same time one. No caller can send one that looks like it.
        submissions = [
            _repeated(stored, {"idempotency_key": f"\x1freplay:{stored.job.job_id}"}) for stored in found
        ]
        answers = await self._service.submit_all(submissions)
        return [(stored.job.job_id, answer) for stored, answer in zip(found, answers, strict=True)]

    async def delete(self, job_id: UUID) -> None:
        """Delete a job that has ended, with its input and result.

        Raises:
            JobNotFound, JobNotFinished: there is nothing to delete.
        """
        if not await self._store.delete(job_id, DEFAULT_TENANT):
            job = (await self.get(job_id)).job
            raise JobNotFinished(f"job {job_id} is {job.status}; cancel it first")
        await self._service.events.forget(job_id)


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
