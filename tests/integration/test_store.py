"""The store on a real PostgreSQL: durability, fencing, transitions, partitions, migrations."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from satellite.errors import StoreUnavailable
from satellite.jobs import PRIORITY_STEP, Job, JobStatus, Run, ended_attempt, new_job_id
from satellite.store import Completion, IdempotencyKey, JobFilter, NewJob, Requeue, Start, Store, migrate

OWNER = uuid4()


def new_job(*, owner=OWNER, input="[1, 2.50]", key=None, **changes):
    job_id, created_at = new_job_id()
    fields = {
        "job_id": job_id,
        "tenant": "default",
        "model_name": "m",
        "status": JobStatus.QUEUED,
        "attempt": 1,
        "created_at": created_at,
    }
    idempotency = None if key is None else IdempotencyKey(key=key, digest=input.encode())
    return NewJob(
        job=Job(**(fields | changes)), input=input, config="{}", owner=owner, idempotency=idempotency
    )


def completion(new, **changes):
    fields = {
        "job_id": new.job.job_id,
        "attempt": new.job.attempt,
        "owner": new.owner,
        "status": JobStatus.SUCCEEDED,
        "started_at": datetime.now(UTC),
        "result": '{"a": 1}',
    }
    return Completion(**(fields | changes))


def requeue(new, **changes):
    ended = ended_attempt(
        new.job, owner=OWNER, ended_at=datetime.now(UTC), code="replica_died", detail="gone", replica_id=None
    )
    fields = {
        "job_id": new.job.job_id,
        "attempt": new.job.attempt,
        "owner": new.owner,
        "started_at": datetime.now(UTC),
        "start_recorded": False,
        "ended": ended.decode(),
        "delay_s": 0.0,
    }
    return Requeue(**(fields | changes))


async def test_an_inserted_job_is_committed_when_insert_returns(store, db):
    job = new_job()
    await store.insert(job)
    row = await db.fetchrow("SELECT * FROM jobs WHERE id = $1", job.job.job_id)
    assert (row["status"], row["attempt"], row["owner"]) == ("queued", 1, OWNER)
    assert row["input"] == "[1, 2.50]"  # kept byte for byte
    assert abs(row["created_at"] - job.job.created_at) < timedelta(milliseconds=1)


async def test_hundreds_of_inserts_and_completions_at_once(store, db):
    jobs = [new_job() for _ in range(700)]
    await asyncio.gather(*(store.insert(job) for job in jobs))
    assert all(await store.complete([completion(job) for job in jobs]))
    assert await db.fetchval("SELECT count(*) FROM jobs WHERE status = 'succeeded'") == 700


@pytest.mark.parametrize("way", ["start", "complete", "requeue"])
async def test_what_moves_a_job_looks_at_no_other(store, db, monkeypatch, way):
    # The planner has seen a table in which nothing is unfinished; then much comes at once.
    ended = [new_job() for _ in range(1000)]
    await store.insert_all(ended)
    await store.complete([completion(job) for job in ended])
    await db.execute("ANALYZE jobs")
    jobs = [new_job() for _ in range(3000)]
    await store.insert_all(jobs)

    plans = []

    async def explain(query, *arguments):
        await db.execute("BEGIN")
        plans.append(await db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments))
        await db.execute("ROLLBACK")
        return []

    monkeypatch.setattr(store, "_fetch", explain)
    some = jobs[:25]
    if way == "start":
        began = datetime.now(UTC)
        await asyncio.gather(
            *(
                store.start(Start(job_id=job.job.job_id, attempt=1, owner=OWNER, started_at=began))
                for job in some
            )
        )
    elif way == "requeue":
        await asyncio.gather(*(store.requeue(requeue(job)) for job in some))
    else:
        await store._complete([completion(job) for job in some])
    assert 0 < sum(rows_read(json.loads(plan)[0]["Plan"]) for plan in plans) < 200


def rows_read(plan):
    """How many rows of jobs the scans of a plan have looked at."""
    is_scan = plan.get("Relation Name", "").startswith("jobs_") and "Scan" in plan["Node Type"]
    read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) if is_scan else 0
    return plan["Actual Loops"] * read + sum(map(rows_read, plan.get("Plans", [])))


async def test_what_is_set_for_one_statement_is_gone_with_it(store):
    async def settings():
        async with store.connections.pool.acquire() as connection:
            rows = await connection.fetch("SELECT name, setting FROM pg_settings WHERE name <> 'jit'")
        return {row["name"]: row["setting"] for row in rows}

    before = await settings()
    await store.claim(OWNER, {"m": 1})
    await store.list_jobs("default", JobFilter(), before=None, limit=1)
    await store.ensure_partitions()
    assert await settings() == before


async def test_a_job_is_read_back_whole(store):
    job = new_job()
    await store.insert(job)
    run = Run(batch_id=uuid4(), batch_size=3, flush_reason="full", queue_s=0.5, compute_s=0.25)
    await store.complete([completion(job, model_version="2", run=run)])
    read = await store.get(job.job.job_id, "default")
    assert read.status is JobStatus.SUCCEEDED
    assert read.result == b'{"a": 1}'
    assert read.model_version == "2"
    assert read.run == run
    assert await store.get(job.job.job_id, "somebody else") is None
    assert await store.get(new_job_id()[0], "default") is None


@pytest.mark.parametrize("changes", [{"attempt": 2}, {"owner": uuid4()}], ids=["attempt", "owner"])
async def test_a_completion_of_another_attempt_or_owner_changes_nothing(store, changes):
    job = new_job()
    await store.insert(job)
    assert await store.complete([completion(job, **changes)]) == [None]
    assert (await store.get(job.job.job_id, "default")).status is JobStatus.QUEUED


async def test_only_one_completion_counts(store):
    job = new_job()
    await store.insert(job)
    results = [
        completion(job),
        completion(job, status=JobStatus.FAILED, result=None, error='{"code": "x"}'),
    ]
    recorded = [at for result in results for at in await store.complete([result])]
    assert [at is not None for at in recorded] == [True, False]
    assert (await store.get(job.job.job_id, "default")).status is JobStatus.SUCCEEDED


async def test_a_start_after_the_end_changes_nothing(store):
    job = new_job()
    await store.insert(job)
    start = Start(job_id=job.job.job_id, attempt=1, owner=OWNER, started_at=datetime.now(UTC))
    await store.start(start)
    assert (await store.get(job.job.job_id, "default")).status is JobStatus.RUNNING
    await store.complete([completion(job)])
    await store.start(start)
    assert (await store.get(job.job.job_id, "default")).status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("column", ["status = 'queued', finished_at = NULL, result = NULL", "result = '{}'"])
async def test_the_database_itself_keeps_finished_jobs_as_they_are(store, db, column):
    job = new_job()
    await store.insert(job)
    await store.complete([completion(job)])
    with pytest.raises(asyncpg.CheckViolationError, match="a finished job never changes"):
        await db.execute(f"UPDATE jobs SET {column} WHERE id = $1", job.job.job_id)


async def test_a_job_cannot_succeed_without_having_started(store, db):
    job = new_job()
    await store.insert(job)
    with pytest.raises(asyncpg.CheckViolationError, match="cannot go from queued"):
        await db.execute(
            "UPDATE jobs SET status = 'succeeded', finished_at = now(), result = '1' WHERE id = $1",
            job.job.job_id,
        )


async def test_jobs_lie_in_the_partition_of_their_day(store, db):
    job = new_job()
    await store.insert(job)
    table = await db.fetchval("SELECT tableoid::regclass::text FROM jobs WHERE id = $1", job.job.job_id)
    assert table == f"jobs_{job.job.created_at:%Y%m%d}"


async def test_partitions_reach_a_week_ahead_and_are_made_once(store, db):
    count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'jobs'::regclass"
    before = await db.fetchval(count)
    assert before == 9
    await asyncio.gather(*(store.ensure_partitions() for _ in range(4)))
    assert await db.fetchval(count) == before


async def test_many_ingresses_may_migrate_an_empty_database_at_once(empty_database_url):
    url = empty_database_url
    assert await migrate.current(url) is None
    stores = await asyncio.gather(*(Store.open(url, pool_size=2) for _ in range(4)))
    assert await migrate.current(url) == migrate.NEWEST
    await asyncio.gather(*(store.close() for store in stores))


def test_the_newest_revision_is_the_one_alembic_knows():
    config = Config()
    config.set_main_option("script_location", str(migrate._FOLDER))
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.NEWEST


async def test_no_server_is_a_clear_error():
    with pytest.raises(StoreUnavailable, match="PostgreSQL does not answer"):
        await Store.open("postgresql://127.0.0.1:1/x", pool_size=2)


async def test_connections_that_were_ended_cost_no_caller_anything(store, db):
    for _ in range(5):
        with contextlib.suppress(StoreUnavailable):
            await store.ping()
        await db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'satellite' AND datname = current_database()"
        )
        job = new_job()
        await store.insert(job)
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(StoreUnavailable):
                    assert await store.get(job.job.job_id, "default")
                    break


async def test_an_insert_that_is_sent_twice_is_one_job(store, db):
    job = new_job()
    await store.insert(job)
    await store.insert(job)
    assert await db.fetchval("SELECT count(*) FROM jobs") == 1


async def test_what_nobody_holds_is_claimed_by_priority_and_age_and_by_one_alone(store):
    now = datetime.now(UTC)

    async def waiting(priority, steps):
        """A job that has waited for so many steps of priority."""
        job = new_job(owner=None, priority=priority, created_at=now - steps * PRIORITY_STEP)
        await store.insert(job)
        return job.job.job_id

    order = [
        await waiting(9, 1.5),
        await waiting(0, 10),  # older than nine steps: no later one overtakes it
        *[await waiting(9, 0.5 - n / 100) for n in range(5)],
        await waiting(4, 4),
        await waiting(0, 1),
    ]
    delayed = new_job(owner=None, priority=9, run_at=now + timedelta(minutes=1))
    expired = new_job(owner=None, deadline_at=now - timedelta(seconds=1))
    for job in (delayed, expired):
        await store.insert(job)
    first, _ = await store.claim(OWNER, {"m": 4, "another": 9})
    assert [stored.job.job_id for stored in first] == order[:4]
    claims = await asyncio.gather(*(store.claim(uuid4(), {"m": 2}) for _ in range(4)))
    assert sorted(stored.job.job_id for claim, _ in claims for stored in claim) == sorted(order[4:])
    assert await store.expire() == [(expired.job.job_id, "m")]


async def test_the_next_attempt_begins_once(store, db):
    job = new_job()
    await store.insert(job)
    assert await store.requeue(requeue(job))
    assert await store.requeue(requeue(job))  # sent again: the same attempt
    assert await db.fetchval("SELECT attempt FROM jobs WHERE id = $1", job.job.job_id) == 2
    assert not await store.requeue(requeue(job, owner=uuid4()))
    await store.complete([completion(job, attempt=2)])
    assert not await store.requeue(requeue(job, attempt=2))


async def test_a_completion_waits_for_the_database_to_return(store, monkeypatch):
    job = new_job()
    await store.insert(job)

    class AwayTwice:
        """The pool, away for the first two statements."""

        def __init__(self):
            self.failures = iter([ConnectionRefusedError(), TimeoutError()])

        async def fetch(self, *args, **more):
            for failure in self.failures:
                raise failure
            return await pool.fetch(*args, **more)

        async def fetchval(self, *args, **more):
            return await pool.fetchval(*args, **more)

        def get_max_size(self):
            return 0

    pool = store.connections.pool
    monkeypatch.setattr(store.connections, "pool", AwayTwice())
    assert all(await store.complete([completion(job)]))
    monkeypatch.undo()


async def test_all_old_idempotency_keys_are_forgotten(store, db):
    for age, count in ((timedelta(days=2), 12_000), (timedelta(hours=1), 3)):
        await db.execute(
            "INSERT INTO idempotency_keys SELECT 'default', $1::interval::text || n, '', gen_random_uuid(), "
            "now() - $1::interval FROM generate_series(1, $2::int) AS n",
            age,
            count,
        )
    await store.forget(keys_after_s=86400)
    assert await db.fetchval("SELECT count(*) FROM idempotency_keys") == 3
