"""The job store: grouped inserts and fenced, grouped completions. What is read is in `reading.py`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import orjson

from satellite.errors import (
    Cancelled,
    DeadlinePassed,
    IdempotencyConflict,
    InferenceError,
    LeaseLost,
    StoreUnavailable,
)
from satellite.groupcommit import GroupCommit, as_it_is
from satellite.jobs import PRIORITY_STEP, first_id_at
from satellite.store import migrate, queries
from satellite.store.connection import AWAY, Connections
from satellite.store.keys import KeyStore
from satellite.store.reading import Reading, stored_job
from satellite.store.records import Completion, NewJob, Requeue, Start, StoredJob
from satellite.store.webhooks import WebhookStore

logger = logging.getLogger(__name__)

PARTITION_DAYS_AHEAD = 7
# A heartbeat that waits longer has failed: the lease must not be renewed by one that was sent long ago.
HEARTBEAT_TIMEOUT_S = 4
# For how long a claim relies on what it knows of the oldest job that has not ended.
OLDEST_OPEN_VALID = timedelta(seconds=60)
# To plan a claim takes longer than to run it: one plan for all. It must not read a day from end to end only
# because that was empty when the plan was made.
PLAN_ONCE = "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"
# Separates labels within one text: a column of arrays cannot be sent as one array.
LABEL_SEPARATOR = "\x1f"
# Orphans that are moved in one statement; the next one follows at once.
ORPHANS_AT_A_TIME = 1000
# Idempotency keys that are deleted in one statement; the next one follows at once.
KEYS_AT_A_TIME = 5000

T = TypeVar("T")
R = TypeVar("R")
Models = set[str]
ModelTenant = tuple[str, str]
Verdict = UUID | IdempotencyConflict


class Store(Reading):
    """All access to PostgreSQL. Built by `Store.open`."""

    def __init__(self, connections: Connections) -> None:
        super().__init__(connections)
        self.webhooks = WebhookStore(connections)
        self.keys = KeyStore(connections)
        self._inserts: GroupCommit[NewJob, Verdict] = _grouped(self._insert)
        self._starts: GroupCommit[Start, None] = _grouped(self._start)
        self._requeues: GroupCommit[Requeue, bool] = _grouped(self._requeue)
        self._partitions_until = datetime.now(UTC)
        self._oldest_open_id = first_id_at(self._partitions_until)
        self._oldest_open_until = self._partitions_until

    @classmethod
    async def open(cls, database_url: str, *, pool_size: int) -> Store:
        """Migrate the schema, connect, and make the partitions of the coming days.

        Raises:
            StoreUnavailable: no PostgreSQL answers at this URL.
        """
        try:
            await migrate.upgrade(database_url)
        except AWAY as error:
            raise StoreUnavailable(f"PostgreSQL does not answer: {error}") from error
        store = cls(await Connections.open(database_url, pool_size=pool_size))
        await store.ensure_partitions()
        return store

    async def close(self) -> None:
        """Write what is waiting, then disconnect."""
        groups = (self._inserts, self._starts, self._requeues, self.webhooks)
        await asyncio.gather(*(group.close() for group in groups))
        await self.connections.close()

    # The way of a job

    async def insert(self, job: NewJob) -> UUID:
        """Make a job durable. When this returns the row is committed.

        Returns:
            Its id; or that of the job which the same idempotency key made before.

        Raises:
            IdempotencyConflict: the key was used for another request.
            StoreUnavailable: it could not be committed.
        """
        verdict = await self.insert_then(job, as_it_is)
        if isinstance(verdict, IdempotencyConflict):
            raise verdict
        return verdict

    async def insert_then(self, job: NewJob, then: Callable[[Verdict], R]) -> R:
        """Make a job durable, and return what `then` makes of the verdict.

        Args:
            job: the job.
            then: called with its id (or that of the job of the same key, or a conflict) once it is committed,
                whether or not the caller still waits.

        Raises:
            StoreUnavailable: it could not be committed.
        """
        await self._need_partitions()
        return await self._inserts.add(job, then)

    async def insert_all(self, jobs: Sequence[NewJob]) -> list[Verdict]:
        """Make several jobs durable, in one transaction; otherwise as `insert`."""
        await self._need_partitions()
        return await self._insert(jobs)

    async def start(self, start: Start) -> None:
        """Record that a job runs, waiting for PostgreSQL to return if it is away."""
        await self._persist(lambda: self._starts.submit(start))

    async def complete(self, completions: Sequence[Completion]) -> list[datetime | None]:
        """Record how attempts ended their jobs, waiting for PostgreSQL to return if it is away.

        Returns:
            When each was recorded, by the database's clock; None for an attempt that no longer held its job:
            its result is discarded.
        """

        async def write() -> list[datetime | None]:
            done = await self._complete(completions)
            # The connection of an earlier try may have broken after its commit.
            return [
                await self._find_completion(c) if at is None else at
                for c, at in zip(completions, done, strict=True)
            ]

        return await self._persist(write)

    async def requeue(self, requeue: Requeue) -> bool:
        """Begin the next attempt, waiting for PostgreSQL to return if it is away.

        Returns:
            False if this attempt no longer held the job.
        """
        return await self._persist(lambda: self._requeues.submit(requeue))

    # Leases

    async def heartbeat(self, owner: UUID, *, lease_s: float) -> bool:
        """Renew the lease of everything that `owner` holds.

        Returns:
            False if the lease is lost: what was held is others' now.
        """
        return (
            await self._fetchval(queries.HEARTBEAT, owner, lease_s, timeout=HEARTBEAT_TIMEOUT_S) is not None
        )

    async def mark_lost(self, owner: UUID, *, lease_s: float, grace_s: float) -> list[UUID]:
        """Declare lost who was silent for `lease_s`, if `owner` itself has been heard for `grace_s`."""
        return [row["owner"] for row in await self._fetch(queries.MARK_LOST, owner, lease_s, grace_s)]

    async def requeue_orphans(self) -> tuple[list[tuple[UUID, str]], list[tuple[UUID, str]]]:
        """Give the jobs of lost ingresses back to the database's queue.

        Returns:
            Id and model of those that have no attempt left and are `dead` now, and of the others.
        """
        detail = "the ingress that held the job was lost"
        error = _error(LeaseLost, f"{detail}, and no attempt is left")
        dead = await self._repeat(queries.BURY_ORPHANS, error)
        cancelled = _error(Cancelled, f"it was cancelled, and {detail}")
        return dead, await self._repeat(queries.REQUEUE_ORPHANS, LeaseLost.code, detail, cancelled)

    async def release(self, owner: UUID) -> Models:
        """End a lease: what has not started can be claimed at once. Returns the models it is for."""
        return {row["model_name"] for row in await self._fetch(queries.RELEASE_JOBS, owner)}

    async def release_strays(self, owner: UUID, held: Sequence[UUID]) -> Models:
        """Give back what `owner` has in the database but does not hold. Returns the models it is for."""
        return {row["model_name"] for row in await self._fetch(queries.RELEASE_STRAYS, owner, held)}

    async def claim(
        self, owner: UUID, most: Mapping[str, int], *, without: Collection[ModelTenant] = ()
    ) -> tuple[list[StoredJob], set[ModelTenant]]:
        """Take jobs that nobody holds, the most pressing of each tenant.

        Args:
            owner: who takes them.
            most: so many of each model; its tenants with waiting jobs have equal parts of these.
            without: the tenants of models of whom none are taken.

        Returns:
            The jobs by rank; and the tenants of models who got all of their part, so that more may wait.
        """
        now = datetime.now(UTC)
        if now > self._oldest_open_until:
            # Clocks differ: a job that is inserted from now on may have an id of a little before.
            newest = first_id_at(now - timedelta(days=1))
            self._oldest_open_id = min(await self._fetchval(queries.OLDEST_OPEN_ID) or newest, newest)
            self._oldest_open_until = now + OLDEST_OPEN_VALID
        arguments = (
            owner,
            list(most),
            list(most.values()),
            self._oldest_open_id,
            [model_name for model_name, _ in without],
            [tenant for _, tenant in without],
        )

        async def claim() -> list[Any]:
            async with self.connections.pool.acquire() as connection, connection.transaction():
                await connection.execute(PLAN_ONCE)
                return await connection.fetch(queries.CLAIM_JOBS, *arguments)

        rows = await self.connections.run(claim)
        left = {(row["model_name"], row["tenant"]): row["share"] for row in rows}
        for row in rows:
            left[row["model_name"], row["tenant"]] -= 1
        jobs = sorted((stored_job(row) for row in rows), key=lambda stored: stored.rank_at)
        return jobs, {who for who, count in left.items() if not count}

    async def expire(self) -> list[tuple[UUID, str]]:
        """End the jobs that nobody holds and whose deadline has passed. Returns their ids and models."""
        error = _error(DeadlinePassed, "its deadline passed before it could start")
        return [(row["id"], row["model_name"]) for row in await self._fetch(queries.EXPIRE_JOBS, error)]

    # What callers ask for

    async def cancel(self, job_ids: Sequence[UUID], tenant: str) -> tuple[list[UUID], list[UUID]]:
        """Cancel the jobs that nobody holds, and ask the ingresses that hold others to.

        Returns:
            Those that are cancelled, and those whose ingress has been asked. Of the rest there is nothing to
            cancel.
        """
        error = _error(Cancelled, "it was cancelled before it started")
        cancelled: list[UUID] = []
        asked: list[UUID] = []
        left = list(job_ids)
        while left:
            found = await self._fetch(queries.CANCEL_JOBS, left, tenant, error)
            cancelled += [row["job_id"] for row in found]
            found = await self._fetch(queries.REQUEST_CANCELS, left, tenant)
            asked += [row["id"] for row in found]
            done = {*cancelled, *asked}
            jobs = await self.get_many([id_ for id_ in left if id_ not in done], tenant)
            left = [id_ for id_, job in jobs.items() if not job.status.is_terminal]  # changed hands meanwhile
        return cancelled, asked

    async def delete(self, job_id: UUID, tenant: str) -> bool:
        """Delete a job that has ended. Returns False if there is none."""
        return await self._fetchval(queries.DELETE_JOB, job_id, tenant) is not None

    # Log readers

    async def take_reader(self, name: str, owner: UUID, *, lease_s: float) -> tuple[int, int] | None:
        """Become the owner of a log reader, if nobody is or its owner was silent for `lease_s`.

        Returns:
            Its position; None if it is another's.
        """
        rows = await self._fetch(queries.TAKE_READER, name, owner, lease_s)
        return (rows[0]["xid"], rows[0]["seq"]) if rows else None

    async def advance_reader(self, name: str, owner: UUID, position: tuple[int, int]) -> bool:
        """Store how far a reader has come, and renew its lease. False: it is another's now."""
        found = await self._fetchval(
            queries.ADVANCE_READER, name, owner, *position, timeout=HEARTBEAT_TIMEOUT_S
        )
        return found is not None

    async def release_reader(self, name: str, owner: UUID) -> None:
        """Let another take a reader at once."""
        await self._fetch(queries.RELEASE_READER, name, owner)

    # Versions

    async def set_default(self, model_name: str, version: str) -> None:
        """Let this version answer where none is named."""
        await self._fetch(queries.SET_DEFAULT, model_name, version)

    async def undo_default(self, model_name: str, version: str) -> bool:
        """Take back the last change of the default, which was to `version`. False if it was not any more."""
        return await self._fetchval(queries.UNDO_DEFAULT, model_name, version) is not None

    # Housekeeping

    async def ensure_partitions(self) -> None:
        """Make the partitions from yesterday (clocks differ) to a week ahead."""
        first = datetime.now(UTC).date() - timedelta(days=1)
        made = await self._change_tables(queries.ENSURE_PARTITIONS, first, PARTITION_DAYS_AHEAD + 2)
        # Those of the coming days are there already: there is time to try again.
        again = timedelta(minutes=10) if made is None else timedelta(hours=6)
        self._partitions_until = datetime.now(UTC) + again

    async def drop_partitions(self, *, retention_days: int, log_days: int) -> list[str]:
        """Drop the days that are older; one with an unfinished job stays. Returns the names of the tables."""
        today = datetime.now(UTC).date()
        oldest = today - timedelta(days=retention_days), today - timedelta(days=log_days)
        return [row[0] for row in await self._change_tables(queries.DROP_PARTITIONS, *oldest) or []]

    async def _change_tables(self, query: str, *arguments: Any) -> list[Any] | None:
        """Run a statement that needs a table for itself; None if somebody else uses it for long (a dump).

        Waiting for it would make every other statement wait behind this one.
        """

        async def change() -> list[Any]:
            async with self.connections.pool.acquire() as connection, connection.transaction():
                await connection.execute("SET LOCAL lock_timeout = '2s'")
                return await connection.fetch(query, *arguments)

        try:
            return await self.connections.run(change)
        except asyncpg.LockNotAvailableError:
            logger.warning(
                "The tables are in use; their days are looked after later.", extra={"action": "tables_busy"}
            )
            return None

    async def forget(self, *, keys_after_s: float) -> None:
        """Delete idempotency keys past their time, and ingresses that were lost long ago."""
        while len(await self._fetch(queries.FORGET_KEYS, keys_after_s, KEYS_AT_A_TIME)) == KEYS_AT_A_TIME:
            pass
        await self._fetch(queries.FORGET_INGRESSES)

    # Inside

    async def _need_partitions(self) -> None:
        if datetime.now(UTC) > self._partitions_until:
            await self.ensure_partitions()

    async def _persist(self, write: Callable[[], Awaitable[R]]) -> R:
        """Try a write until PostgreSQL takes it."""
        delay_s = 0.05
        while True:
            try:
                return await write()
            except StoreUnavailable:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 1)

    async def _insert(self, jobs: Sequence[NewJob]) -> list[Verdict]:
        keyed = [job for job in jobs if job.idempotency is not None]
        if not keyed and all(job.webhook is None for job in jobs):
            await self._fetch(queries.INSERT_JOBS, *_columns(jobs))
            return [new.job.job_id for new in jobs]

        async def insert() -> list[Verdict]:
            async with self.connections.pool.acquire() as connection, connection.transaction():
                found = await _take_keys(connection, keyed) if keyed else {}
                answers = [_verdict(new, found) for new in jobs]
                fresh = [new for new, id_ in zip(jobs, answers, strict=True) if id_ == new.job.job_id]
                if fresh:
                    await connection.execute(queries.INSERT_JOBS, *_columns(fresh))
                if hooks := [(new.job.job_id, new.webhook) for new in fresh if new.webhook]:
                    rows = [(job_id, hook.url, hook.host, ",".join(hook.events)) for job_id, hook in hooks]
                    await connection.execute(queries.INSERT_JOB_WEBHOOKS, *_transposed(rows))
                return answers

        return await self.connections.run(insert)

    async def _start(self, starts: Sequence[Start]) -> Sequence[None]:
        rows = [(s.job_id, s.attempt, s.owner, s.started_at) for s in starts]
        await self._fetch(queries.START_JOBS, *_transposed(rows))
        return [None] * len(starts)

    async def _complete(self, completions: Sequence[Completion]) -> Sequence[datetime | None]:
        rows = [
            (
                c.job_id,
                c.attempt,
                c.owner,
                c.status,
                c.model_version,
                c.started_at,
                c.result,
                c.error,
                c.run.batch_id,
                c.run.batch_size,
                c.run.flush_reason,
                c.run.replica_id,
                c.run.admission_s,
                c.run.queue_s,
                c.run.load_s,
                c.run.fill_s,
                c.run.compute_s,
                c.start_recorded,
            )
            for c in completions
        ]
        done = {
            row["id"]: row["finished_at"]
            for row in await self._fetch(queries.COMPLETE_JOBS, *_transposed(rows))
        }
        return [done.get(c.job_id) for c in completions]

    async def _find_completion(self, completion: Completion) -> datetime | None:
        c = completion
        return await self._fetchval(queries.FIND_COMPLETION, c.job_id, c.attempt, c.owner, c.status)

    async def _requeue(self, requeues: Sequence[Requeue]) -> Sequence[bool]:
        rows = [
            (r.job_id, r.attempt, r.owner, r.started_at, r.ended, r.delay_s, r.start_recorded)
            for r in requeues
        ]
        held = {
            row["id"] for row in await self._fetch(queries.REQUEUE_JOBS, *_transposed(rows), PRIORITY_STEP)
        }
        return [r.job_id in held for r in requeues]

    async def _repeat(self, query: str, *arguments: Any) -> list[tuple[UUID, str]]:
        """Run a statement that moves up to so many jobs until there are none left."""
        moved: list[tuple[UUID, str]] = []
        while True:
            rows = await self._fetch(query, ORPHANS_AT_A_TIME, *arguments)
            moved += [(row["id"], row["model_name"]) for row in rows]
            if len(rows) < ORPHANS_AT_A_TIME:
                return moved


def _grouped(write: Callable[[Sequence[T]], Awaitable[Sequence[R]]]) -> GroupCommit[T, R]:
    return GroupCommit(write, shared=StoreUnavailable)


async def _take_keys(connection: Any, keyed: Sequence[NewJob]) -> dict[tuple[str, str], Any]:
    """Let each key stand for its job, where it does not stand for one yet. Returns what they stand for."""
    names = [(new.job.tenant, new.idempotency.key) for new in keyed if new.idempotency]
    tenants, keys = map(list, zip(*names, strict=True))
    digests = [new.idempotency.digest for new in keyed if new.idempotency]
    await connection.execute(queries.TAKE_KEYS, tenants, keys, digests, [new.job.job_id for new in keyed])
    rows = await connection.fetch(queries.FIND_KEYS, tenants, keys)
    return {(row["tenant"], row["key"]): row for row in rows}


def _columns(jobs: Sequence[NewJob]) -> list[list[Any]]:
    return _transposed(
        [
            (
                new.job.job_id,
                new.job.tenant,
                new.job.model_name,
                new.input,
                new.config,
                new.job.max_attempts,
                new.owner,
                new.job.created_at,
                new.job.priority,
                run_at := new.job.run_at or new.job.created_at,
                run_at - new.job.priority * PRIORITY_STEP,
                new.job.deadline_at,
                LABEL_SEPARATOR.join(new.job.labels),
                new.job.parent_id,
                new.job.requested_version,
            )
            for new in jobs
        ]
    )


def _transposed(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as columns: the parameters of a statement that unnests arrays."""
    return [list(column) for column in zip(*rows, strict=True)]


def _verdict(new: NewJob, found: dict[tuple[str, str], Any]) -> Verdict:
    """Whose job it is that a key leads to, once the keys of a group have been taken."""
    if new.idempotency is None:
        return new.job.job_id
    row = found.get((new.job.tenant, new.idempotency.key))
    if row is None:
        return new.job.job_id  # an old key, forgotten in this very moment
    if row["digest"] != new.idempotency.digest:
        return IdempotencyConflict(
            f"the idempotency key {new.idempotency.key!r} was used for another request, which made job "
            f"{row['job_id']}; send a new key with a new request"
        )
    return row["job_id"]


def _error(kind: type[InferenceError], detail: str) -> str:
    return orjson.dumps({"code": kind.code, "title": kind.title, "detail": detail}).decode()
