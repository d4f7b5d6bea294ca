"""What callers read: a job as it is, a job until it ends, every step of a job, every step of all jobs."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from satellite.errors import JobNotFound
from satellite.eventlog import EventLog, Position
from satellite.events import Wake
from satellite.jobs import Job, JobStatus, Step
from satellite.service import Service

# How often a waiting caller looks at PostgreSQL, should an event have been lost (Redis away, say).
POLL_S = 1.0
# A digest of changes: how often it comes at most, and how many jobs it shows.
CHANGES_S = 1.0
MAX_CHANGES = 500

Order = tuple[int, int]
BEFORE_ALL: Order = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One message of a stream: its id, with which the stream can be resumed, and its body in wire form."""

    id: str
    body: bytes


class Watching:
    """The reading side of an ingress.

    Args:
        service: the ingress.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store
        self._events = service.events
        self._log = EventLog(service.store, metrics=service.metrics)
        service.events.on_wake(Wake.LOG, self._log.grew)

    async def close(self) -> None:
        """Stop following the log."""
        await self._log.close()

    async def result(self, job_id: UUID, tenant: str, *, wait_s: float = 0) -> tuple[JobStatus, bytes]:
        """The job as it is now, or as it is when it ends, if that is within `wait_s`.

        Returns:
            Its status and its wire form.

        Raises:
            JobNotFound: the tenant has no such job.
            StoreUnavailable: PostgreSQL is needed and does not answer.
        """
        status, body = await self._result(job_id, tenant)
        if status.is_terminal or wait_s <= 0:
            return status, body
        deadline = time.monotonic() + wait_s
        async with self._events.subscribe(job_id, local=job_id in self._service.held) as subscription:
            while True:
                status, body = await self._result(job_id, tenant)
                left_s = deadline - time.monotonic()
                if status.is_terminal or left_s <= 0 or self._service.draining.is_set():
                    return status, body
                await subscription.get(min(left_s, POLL_S))

    async def job_events(
        self, job_id: UUID, tenant: str, *, after: Order = BEFORE_ALL
    ) -> AsyncGenerator[Event]:
        """Every step of a job after one that the caller knows, to its end. The last carries the whole job.

        Ends early when this ingress is about to stop.

        Raises:
            JobNotFound, StoreUnavailable: as `result`.
            SlowReader: whoever iterates cannot keep up.
        """
        seen = after
        async with self._events.subscribe(job_id, local=job_id in self._service.held) as subscription:
            while not self._service.draining.is_set():
                # The job itself tells all its steps, those too that nobody heard of.
                job = await self._job(job_id, tenant)
                for step in job.steps():
                    if step.order > seen:
                        seen = step.order
                        yield _job_event(job, step)
                if job.status.is_terminal:
                    return
                heard = await subscription.get(POLL_S)
                while heard is not None and heard.order <= seen:
                    heard = await subscription.get(POLL_S)
                if heard is not None and not heard.status.is_terminal and _follows(heard.order, seen):
                    seen = heard.order
                    yield _job_event(job, heard)

    async def check(self, job_id: UUID | None, tenant: str, after: tuple[int, int] | None) -> None:
        """Whether there is such a stream.

        Raises:
            JobNotFound: there is no such job.
            CursorExpired: the log does not go back so far.
        """
        if job_id is not None:
            await self._job(job_id, tenant)
        elif after is not None:
            await self._log.check(after)

    async def now(self) -> Position:
        """The position in the log after which everything is still to come."""
        return await self._store.log_position()

    async def log_events(
        self, tenant: str, *, model_name: str | None, after: Position
    ) -> AsyncGenerator[Event]:
        """Every step of a tenant's jobs, or of one model's, after a position in the log, without end.

        Raises:
            CursorExpired, SlowReader, StoreUnavailable: see `EventLog.read`.
        """
        async for event in self._log.read(tenant, model_name=model_name, after=after):
            step = Step(attempt=event.attempt, status=event.status, at=event.at)
            id_ = f"{event.position[0]}-{event.position[1]}"
            yield Event(id=id_, body=_body(id_, event.job_id, event.model_name, step, None))

    async def changes(self, tenant: str, *, after: Position) -> AsyncGenerator[Event]:
        """The tenant's jobs that have changed after a position in the log, in digests, without end.

        Raises:
            CursorExpired, StoreUnavailable: see `EventLog.digests`.
        """
        async for digest in self._log.digests(tenant, after=after, most=MAX_CHANGES, pause_s=CHANGES_S):
            id_ = f"{digest.position[0]}-{digest.position[1]}"
            steps = [
                {"job_id": str(event.job_id), "model_name": event.model_name, "status": event.status}
                for event in digest.events
            ]
            fields = {"type": "changes", "id": id_, "steps": steps, "more": digest.more}
            yield Event(id=id_, body=orjson.dumps(fields))

    async def _result(self, job_id: UUID, tenant: str) -> tuple[JobStatus, bytes]:
        job = self._service.held.find(job_id, tenant)
        if job is None:
            cached = await self._events.cached_result(job_id, tenant)
            if cached is not None:
                return JobStatus(orjson.loads(cached)["status"]), cached
            job = await self._job(job_id, tenant)
        return job.status, job.to_json()

    async def _job(self, job_id: UUID, tenant: str) -> Job:
        job = self._service.held.find(job_id, tenant) or await self._store.get(job_id, tenant)
        if job is None:
            raise JobNotFound(f"there is no job {job_id}")
        return job


def _follows(order: Order, seen: Order) -> bool:
    """Whether nothing can have happened to a job between these two steps of it."""
    return order == (seen[0], seen[1] + 1)


def _job_event(job: Job, step: Step) -> Event:
    id_ = f"{step.attempt}.{step.status.rank}"
    whole = job.to_json() if step.status.is_terminal else None
    return Event(id=id_, body=_body(id_, job.job_id, job.model_name, step, whole))


def _body(id_: str, job_id: UUID, model_name: str, step: Step, whole: bytes | None) -> bytes:
    fields: dict[str, Any] = {
        "type": "job",
        "id": id_,
        "job_id": str(job_id),
        "model_name": model_name,
        "status": step.status,
        "attempt": step.attempt,
        "at": step.at,
        "job": None if whole is None else orjson.Fragment(whole),
    }
    return orjson.dumps(fields, option=orjson.OPT_UTC_Z)
