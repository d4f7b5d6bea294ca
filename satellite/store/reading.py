"""What is read from PostgreSQL, apart from what claiming and completing return."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from satellite.jobs import Job, JobStatus, Run, first_id_at
from satellite.store import queries
from satellite.store.connection import Connections
from satellite.store.records import (
    DeadLetters,
    DefaultChange,
    JobFilter,
    LogEvent,
    OpenJobs,
    ReaderState,
    StoredJob,
    TenantEvent,
)

# Of dead jobs no more are counted.
MAX_COUNTED = 200_000


class Reading:
    """The reading half of the store.

    Attributes:
        connections: the pool; its `up` says whether PostgreSQL answers.
    """

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

    async def get(self, job_id: UUID, tenant: str) -> Job | None:
        """Read one job, or None if this tenant has none of that id."""
        stored = await self.get_stored(job_id, tenant)
        return None if stored is None else stored.job

    async def get_stored(self, job_id: UUID, tenant: str) -> StoredJob | None:
        """Read one job with its input, or None if this tenant has none of that id."""
        rows = await self._fetch(queries.GET_JOB, job_id, tenant)
        return stored_job(rows[0]) if rows else None

    async def get_many(self, job_ids: Sequence[UUID], tenant: str) -> dict[UUID, Job]:
        """Read jobs by their ids, without their payloads. Those that this tenant has none of are left out."""
        rows = await self._fetch(queries.GET_JOBS, list(job_ids), tenant) if job_ids else []
        return {row["id"]: _job(row) for row in rows}

    async def list_jobs(
        self, tenant: str, wanted: JobFilter, *, before: UUID | None, limit: int
    ) -> list[Job]:
        """Read jobs without their payloads, newest first, from `before` (exclusive) on."""
        until = first_id_at(wanted.created_before) if wanted.created_before else None
        before = min((id_ for id_ in (before, until) if id_ is not None), default=None)
        arguments = (
            tenant,
            before,
            first_id_at(wanted.created_after) if wanted.created_after else None,
            wanted.model_name,
            list(wanted.statuses) or None,
            list(wanted.labels) or None,
            wanted.parent_id,
            limit,
        )

        async def read() -> list[Any]:
            async with self.connections.pool.acquire() as connection, connection.transaction(readonly=True):
                # One plan for all filters would be a bad one for most.
                await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
                return await connection.fetch(queries.LIST_JOBS, *arguments)

        return [_job(row, run=Run(batch_size=row["batch_size"])) for row in await self.connections.run(read)]

    async def ended_jobs(
        self, job_ids: Sequence[UUID], *, max_result_bytes: int
    ) -> dict[UUID, tuple[Job, bool]]:
        """Jobs of all tenants, by id; those that were deleted are missing.

        Returns:
            Each job, and whether its result was left out for its size.
        """
        rows = await self._fetch(queries.ENDED_JOBS, list(job_ids), max_result_bytes)
        return {
            row["id"]: (_job(row, result=row["result"] and row["result"].encode()), row["is_too_large"])
            for row in rows
        }

    async def replayable(
        self,
        tenant: str,
        *,
        job_ids: Sequence[UUID] | None,
        model_name: str | None,
        error_code: str | None,
        limit: int,
    ) -> list[StoredJob]:
        """Dead jobs that no other job repeats yet, oldest first."""
        ids = None if job_ids is None else list(job_ids)
        rows = await self._fetch(queries.REPLAYABLE_JOBS, tenant, ids, model_name, error_code, limit)
        return [stored_job(row) for row in rows]

    async def count_replayable(
        self, tenant: str, *, job_ids: Sequence[UUID] | None, model_name: str | None, error_code: str | None
    ) -> int:
        """How many dead jobs no other job repeats yet; at most `MAX_COUNTED`."""
        ids = None if job_ids is None else list(job_ids)
        return await self._fetchval(
            queries.COUNT_REPLAYABLE, tenant, ids, model_name, error_code, MAX_COUNTED
        )

    async def dead_letters(self, tenant: str, *, limit: int) -> list[DeadLetters]:
        """Dead jobs that no other job repeats yet, by model and error; the largest group first."""
        rows = await self._fetch(queries.DEAD_LETTERS, tenant, MAX_COUNTED, limit)
        return [
            DeadLetters(
                error_code=row["error_code"],
                count=row["count"],
                oldest_at=row["oldest_at"],
                newest_at=row["newest_at"],
                example=_job(
                    row,
                    attempts=row["attempts"] and row["attempts"].encode(),
                    run=Run(batch_size=row["batch_size"]),
                ),
            )
            for row in rows
        ]

    async def batch_mates(self, job: Job) -> list[UUID]:
        """The other jobs that were computed in its batch."""
        if job.run is None or job.run.batch_id is None:
            return []
        rows = await self._fetch(queries.BATCH_MATES, job.run.batch_id, job.tenant, job.job_id)
        return [row["id"] for row in rows]

    async def cancels_requested(self, owner: UUID) -> list[UUID]:
        """The jobs `owner` holds that somebody has asked to cancel."""
        return [row["id"] for row in await self._fetch(queries.CANCELS_REQUESTED, owner)]

    async def open_jobs(self, owner: UUID) -> dict[str, OpenJobs]:
        """By model, what has not ended, as `owner` sees it. A model without such jobs is missing."""
        by_model: dict[str, list[Any]] = {}
        for row in await self._fetch(queries.OPEN_JOBS, owner):
            by_model.setdefault(row["model_name"], []).append(row)
        return {model_name: _open_jobs(rows) for model_name, rows in by_model.items()}

    async def tables(self) -> dict[str, tuple[int, date]]:
        """The size of `jobs` and `events` in bytes, with indexes, and the oldest day that they hold."""
        return {
            row["parent"]: (row["size_bytes"], datetime.strptime(row["oldest"], "%Y%m%d").date())
            for row in await self._fetch(queries.DESCRIBE_TABLES)
        }

    async def ahead_of(self, stored: StoredJob) -> int:
        """About how many jobs of its model come before a waiting one."""
        job = stored.job
        return await self._fetchval(queries.AHEAD_OF_JOB, job.model_name, stored.rank_at, job.tenant)

    async def log_position(self) -> tuple[int, int]:
        """Up to where the event log is complete."""
        return await self._fetchval(queries.LOG_POSITION) - 1, 2**62

    async def read_log(
        self, tenant: str, after: tuple[int, int], *, model_name: str | None = None, limit: int
    ) -> list[LogEvent]:
        """Events after a position, in the order of their positions, up to where the log is complete."""
        return _log_events(await self._fetch(queries.READ_LOG, tenant, *after, model_name, limit))

    async def read_log_backwards(
        self, tenant: str, after: tuple[int, int], until: tuple[int, int], *, limit: int
    ) -> list[LogEvent]:
        """The newest events after a position, up to one (inclusive) to which the log is complete."""
        return _log_events(await self._fetch(queries.READ_LOG_BACKWARDS, tenant, *after, *until, limit))

    async def read_log_page(
        self, after: tuple[int, int], *, statuses: Sequence[JobStatus] | None, limit: int
    ) -> list[TenantEvent]:
        """Every tenant's events after a position, in order; with `statuses` only the steps to these."""
        wanted = None if statuses is None else list(statuses)
        rows = await self._fetch(queries.READ_LOG_PAGE, *after, wanted, limit)
        return [
            TenantEvent(
                position=(row["xid"], row["seq"]),
                job_id=row["job_id"],
                tenant=row["tenant"],
                model_name=row["model_name"],
                status=JobStatus(row["status"]),
                attempt=row["attempt"],
                at=row["at"],
            )
            for row in rows
        ]

    async def log_readers(self) -> list[ReaderState]:
        """Every log reader there is, by name."""
        return [
            ReaderState(
                name=row["name"],
                owner=row["owner"],
                renewed_at=row["renewed_at"],
                position=(row["xid"], row["seq"]),
                behind=row["behind"],
            )
            for row in await self._fetch(queries.LOG_READERS)
        ]

    async def log_horizon(self) -> int:
        """The last transaction whose events are no longer kept."""
        return await self._fetchval(queries.LOG_HORIZON)

    async def current_defaults(self) -> dict[str, str]:
        """The versions that answer where none is named, of the models whose default was ever changed."""
        return {row["model_name"]: row["version"] for row in await self._fetch(queries.CURRENT_DEFAULTS)}

    async def default_history(self, model_name: str, *, limit: int) -> list[DefaultChange]:
        """The changes of a model's default, newest first."""
        rows = await self._fetch(queries.DEFAULT_HISTORY, model_name, limit)
        return [
            DefaultChange(version=row["version"], set_at=row["set_at"], undone_at=row["undone_at"])
            for row in rows
        ]

    async def ping(self) -> None:
        """Ask PostgreSQL for a sign of life.

        Raises:
            StoreUnavailable: there was none.
        """
        await self._fetchval(queries.PING, timeout=2)

    async def _fetch(self, query: str, *arguments: Any, timeout: float | None = None) -> list[Any]:
        return await self.connections.run(
            lambda: self.connections.pool.fetch(query, *arguments, timeout=timeout)
        )

    async def _fetchval(self, query: str, *arguments: Any, timeout: float | None = None) -> Any:
        rows = await self._fetch(query, *arguments, timeout=timeout)
        return rows[0][0] if rows else None


def _open_jobs(rows: list[Any]) -> OpenJobs:
    """Of the tenants of one model, together."""
    return OpenJobs(
        queued=sum(row["queued"] for row in rows),
        running=sum(row["running"] for row in rows),
        elsewhere={row["tenant"]: row["elsewhere"] for row in rows},
        backlog={row["tenant"]: row["backlog"] for row in rows},
        backlog_since_s=min(
            (row["backlog_since_s"] for row in rows if row["backlog_since_s"] is not None), default=None
        ),
        oldest_wait_s=max(row["oldest_wait_s"] or 0.0 for row in rows),
    )


def _log_events(rows: list[Any]) -> list[LogEvent]:
    return [
        LogEvent(
            position=(row["xid"], row["seq"]),
            job_id=row["job_id"],
            model_name=row["model_name"],
            status=JobStatus(row["status"]),
            attempt=row["attempt"],
            at=row["at"],
        )
        for row in rows
    ]


def stored_job(row: Any) -> StoredJob:
    """A whole row of `jobs`."""
    job = _job(
        row,
        result=row["result"] and row["result"].encode(),
        attempts=row["attempts"] and row["attempts"].encode(),
        run=Run(
            batch_id=row["batch_id"],
            batch_size=row["batch_size"],
            flush_reason=row["flush_reason"],
            replica_id=row["replica_id"],
            admission_s=row["admission_s"],
            queue_s=row["queue_s"],
            load_s=row["load_s"],
            fill_s=row["fill_s"],
            compute_s=row["compute_s"],
        ),
    )
    return StoredJob(job=job, input=row["input"], config=row["config"], rank_at=row["rank_at"])


def _job(row: Any, **more: Any) -> Job:
    return Job(
        job_id=row["id"],
        tenant=row["tenant"],
        model_name=row["model_name"],
        status=JobStatus(row["status"]),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        created_at=row["created_at"],
        priority=row["priority"],
        run_at=row["run_at"],
        deadline_at=row["deadline_at"],
        labels=tuple(row["labels"] or ()),
        parent_id=row["parent_id"],
        cancel_requested=row["cancel_requested"],
        requested_version=row["requested_version"],
        model_version=row["model_version"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        error=row["error"] and row["error"].encode(),
        **more,
    )
