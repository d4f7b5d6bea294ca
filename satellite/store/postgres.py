"""The job store: grouped inserts and fenced, grouped completions on an asyncpg pool."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import orjson

from satellite.errors import LeaseLost, StoreUnavailable
from satellite.groupcommit import GroupCommit
from satellite.jobs import Job, JobStatus
from satellite.store import migrate, queries

logger = logging.getLogger(__name__)

PARTITION_DAYS_AHEAD = 7
RETRY_AFTER_S = 2
# A statement that takes longer than this is as good as a database that is away.
COMMAND_TIMEOUT_S = 30
# A heartbeat that waits longer has failed: the lease must not be renewed by one that was sent long ago.
HEARTBEAT_TIMEOUT_S = 4
# What asyncpg raises when the server is away, shutting down or has ended the connection.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that was ended while it was being taken from the pool
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to insert, already claimed by `owner`."""

    job_id: UUID
    tenant: str
    model_name: str
    input: str  # JSON
    config: str  # JSON
    attempt: int
    max_attempts: int
    owner: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A job taken over from an ingress whose lease has run out."""

    job: Job
    input: str  # JSON
    config: str  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A job that has begun to compute."""

    job_id: UUID
    attempt: int
    owner: UUID
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How an attempt ended. Counts only while `(job_id, attempt, owner)` still holds the job."""

    job_id: UUID
    attempt: int
    owner: UUID
    status: JobStatus
    started_at: datetime | None
    finished_at: datetime
    model_version: str | None = None
    result: str | None = None  # JSON
    error: str | None = None  # JSON
    batch_id: UUID | None = None
    batch_size: int | None = None
    flush_reason: str | None = None


class Store:
    """All access to PostgreSQL. Built by `Store.open`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._inserts: GroupCommit[NewJob, None] = GroupCommit(self._insert)
        self._starts: GroupCommit[Start, None] = GroupCommit(self._start)
        self._completions: GroupCommit[Completion, bool] = GroupCommit(self._complete)
        self._partitions_until = datetime.now(UTC)

    @classmethod
    async def open(cls, database_url: str, *, pool_size: int) -> Store:
        """Migrate the schema, connect, and make the partitions of the coming days.

        Raises:
            StoreUnavailable: no PostgreSQL answers at this URL.
        """
        try:
            await migrate.upgrade(database_url)
            pool = await asyncpg.create_pool(
                database_url,
                min_size=2,
                max_size=pool_size,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={"application_name": "satellite"},
            )
        except _AWAY as error:
            raise StoreUnavailable(f"PostgreSQL does not answer: {error}") from error
        store = cls(pool)
        await store.ensure_partitions()
        return store

    async def close(self) -> None:
        """Write what is waiting, then disconnect."""
        await asyncio.gather(self._inserts.close(), self._starts.close(), self._completions.close())
        await self._pool.close()

    async def insert(self, job: NewJob) -> None:
        """Make a job durable. When this returns the row is committed.

        Raises:
            StoreUnavailable: it could not be committed; nothing was stored.
        """
        if datetime.now(UTC) > self._partitions_until:
            await self.ensure_partitions()
        await self._inserts.submit(job)

    async def start(self, start: Start) -> None:
        """Record that a job runs, if PostgreSQL is there. One that has already ended is left alone."""
        with contextlib.suppress(StoreUnavailable):
            await self._starts.submit(start)

    async def complete(self, completion: Completion) -> bool:
        """Record how an attempt ended, waiting for PostgreSQL to return if it is away.

        Returns:
            False if the attempt no longer held the job: its result is discarded.
        """
        return await self._persist(lambda: self._completions.submit(completion))

    async def _persist(self, write: Callable[[], Awaitable[R]]) -> R:
        """Try a write until PostgreSQL takes it."""
        delay_s = 0.1
        while True:
            try:
                return await write()
            except StoreUnavailable:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 5)

    async def requeue(self, job_id: UUID, attempt: int, owner: UUID) -> bool:
        """Begin the next attempt, waiting for PostgreSQL to return if it is away.

        Returns:
            False if this attempt no longer held the job.
        """
        return (
            await self._persist(
                lambda: self._guard(lambda: self._pool.fetchval(queries.REQUEUE_JOB, job_id, attempt, owner))
            )
            is not None
        )

    async def heartbeat(self, owner: UUID) -> None:
        """Renew the lease of everything that `owner` holds."""
        await self._guard(lambda: self._pool.execute(queries.HEARTBEAT, owner, timeout=HEARTBEAT_TIMEOUT_S))

    async def retire(self, owner: UUID) -> None:
        """Give up the lease: whatever `owner` still holds can be claimed at once."""
        await self._guard(lambda: self._pool.execute(queries.RETIRE, owner))

    async def claim_orphans(
        self, owner: UUID, models: Sequence[str], *, lease_s: float, limit: int
    ) -> tuple[list[Job], list[Orphan]]:
        """Take over jobs whose ingress has had no heartbeat for `lease_s` seconds.

        Returns:
            Those that have no attempt left and are `dead` now, and those that `owner` holds now.
        """
        error = orjson.dumps(
            {
                "code": LeaseLost.code,
                "title": LeaseLost.title,
                "detail": "the ingress that held the job was lost, and no attempt is left",
            }
        ).decode()
        names = list(models)
        dead = await self._guard(lambda: self._pool.fetch(queries.BURY_ORPHANS, owner, lease_s, names, error))
        rows = await self._guard(
            lambda: self._pool.fetch(queries.CLAIM_ORPHANS, owner, lease_s, names, limit)
        )
        orphans = [Orphan(job=_job(row), input=row["input"], config=row["config"]) for row in rows]
        return [_job(row) for row in dead], orphans

    async def get(self, job_id: UUID, tenant: str) -> Job | None:
        """Read one job, or None if this tenant has none of that id."""
        row = await self._guard(lambda: self._pool.fetchrow(queries.GET_JOB, job_id, tenant))
        return None if row is None else _job(row)

    async def ping(self) -> None:
        """Ask PostgreSQL for a sign of life.

        Raises:
            StoreUnavailable: there was none.
        """
        await self._guard(lambda: self._pool.fetchval(queries.PING, timeout=2))

    async def ensure_partitions(self) -> None:
        """Make the jobs table's partitions from yesterday (clocks differ) to a week ahead."""
        today = datetime.now(UTC).date()
        await self._guard(
            lambda: self._pool.execute(
                queries.ENSURE_PARTITIONS, today - timedelta(days=1), PARTITION_DAYS_AHEAD + 2
            )
        )
        self._partitions_until = datetime.now(UTC) + timedelta(hours=6)

    async def _insert(self, jobs: Sequence[NewJob]) -> Sequence[None]:
        rows = [
            (
                j.job_id,
                j.tenant,
                j.model_name,
                j.input,
                j.config,
                j.attempt,
                j.max_attempts,
                j.owner,
                j.created_at,
            )
            for j in jobs
        ]
        # Callers wait for it, so it is tried again at once: as often as there may be broken connections.
        for tries_left in range(self._pool.get_max_size(), -1, -1):
            try:
                await self._execute_grouped(queries.INSERT_JOBS, rows)
                break
            except StoreUnavailable:
                # After a restart of PostgreSQL the pool still holds connections that are broken.
                if not tries_left:
                    raise
        return [None] * len(jobs)

    async def _start(self, starts: Sequence[Start]) -> Sequence[None]:
        await self._execute_grouped(
            queries.START_JOBS, [(s.job_id, s.attempt, s.owner, s.started_at) for s in starts]
        )
        return [None] * len(starts)

    async def _complete(self, completions: Sequence[Completion]) -> Sequence[bool]:
        rows = await self._execute_grouped(
            queries.COMPLETE_JOBS,
            [
                (
                    c.job_id,
                    c.attempt,
                    c.owner,
                    c.status,
                    c.model_version,
                    c.started_at,
                    c.finished_at,
                    c.result,
                    c.error,
                    c.batch_id,
                    c.batch_size,
                    c.flush_reason,
                )
                for c in completions
            ],
        )
        recorded = {row["id"] for row in rows}
        return [c.job_id in recorded for c in completions]

    async def _execute_grouped(self, query: str, rows: list[tuple[Any, ...]]) -> list[Any]:
        """Run a statement whose parameters are the columns of `rows`."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        return await self._guard(lambda: self._pool.fetch(query, *columns))

    async def _guard(self, call: Callable[[], Awaitable[R]]) -> R:
        try:
            return await call()
        except _AWAY as error:
            logger.warning(
                "PostgreSQL does not answer.", extra={"action": "store_unavailable", "error": str(error)}
            )
            raise StoreUnavailable(
                "PostgreSQL does not answer: the request was not accepted. Send it again shortly.",
                retry_after_s=RETRY_AFTER_S,
            ) from error


def _job(row: Any) -> Job:
    return Job(
        job_id=row["id"],
        tenant=row["tenant"],
        model_name=row["model_name"],
        status=JobStatus(row["status"]),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        created_at=row["created_at"],
        model_version=row["model_version"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        result=row["result"] and row["result"].encode(),
        error=row["error"] and row["error"].encode(),
    )
