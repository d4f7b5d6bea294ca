"""What is old is dropped by the day, and never a job that has not ended; keys are forgotten in time."""

from datetime import UTC, datetime, timedelta

from satellite.jobs import first_id_at

from .helpers import ended, submitted
from .test_store import completion, new_job

TODAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


async def old_job(store, db, days, *, finished):
    """A job of so many days ago, in the partition of its day."""
    created_at = TODAY - timedelta(days=days)
    await db.execute("SELECT ensure_partitions($1::date, 1)", created_at.date())
    job = new_job(job_id=first_id_at(created_at), created_at=created_at)
    await store.insert(job)
    if finished:
        assert all(await store.complete([completion(job)]))
    return job, f"jobs_{created_at:%Y%m%d}"


async def tables(db, parent):
    rows = await db.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::text::regclass",
        parent,
    )
    return {row["name"] for row in rows}


async def test_old_days_are_dropped_and_one_with_an_unfinished_job_stays_until_it_has_ended(store, db):
    gone, gone_table = await old_job(store, db, 31, finished=True)
    waiting, waiting_table = await old_job(store, db, 32, finished=False)
    kept, kept_table = await old_job(store, db, 30, finished=True)
    young = new_job()
    await store.insert(young)
    dropped = await store.drop_partitions(retention_days=30, log_days=40)
    assert dropped == [gone_table]
    assert {waiting_table, kept_table} <= await tables(db, "jobs")
    assert await store.get(gone.job.job_id, "default") is None
    for job in (waiting, kept, young):
        assert await store.get(job.job.job_id, "default")
    assert await store.drop_partitions(retention_days=30, log_days=40) == []
    await store.complete([completion(waiting)])
    assert await store.drop_partitions(retention_days=30, log_days=40) == [waiting_table]


async def test_old_days_of_the_log_are_dropped_and_up_to_where_is_recorded(store, db):
    for days in (3, 4, 5):
        at = TODAY - timedelta(days=days)
        await db.execute("SELECT ensure_partitions($1::date, 1)", at.date())
        await db.execute(
            "INSERT INTO events (xid, recorded_at, at, attempt, status, job_id, tenant, model_name)"
            " VALUES ($1::text::xid8, $2, $2, 1, 'queued', gen_random_uuid(), 'default', 'm')",
            str(100 - days),
            at,
        )
    await db.execute("SELECT ensure_partitions($1::date, 1)", TODAY.date() - timedelta(days=6))  # empty
    assert await store.log_horizon() == 0
    expected = {f"events_{TODAY - timedelta(days=days):%Y%m%d}" for days in (4, 5, 6)}
    assert set(await store.drop_partitions(retention_days=30, log_days=3)) == expected
    assert await store.log_horizon() == 96  # the last that is gone; the one after is still there
    assert await db.fetchval("SELECT min(xid::text::bigint) FROM events") == 97
    assert f"events_{TODAY - timedelta(days=3):%Y%m%d}" in await tables(db, "events")


async def test_a_key_stands_for_its_job_for_a_day(node, db):
    young, old = await submitted(node, key="young"), await submitted(node, key="old")
    await ended(node, old)
    age = "UPDATE idempotency_keys SET created_at = now() - make_interval(hours => $2) WHERE key = $1"
    await db.execute(age, "young", 23)
    await db.execute(age, "old", 25)
    await node.service._upkeep._keep_house()
    assert await submitted(node, key="young") == young
    assert await submitted(node, key="old") != old


async def test_lost_ingresses_are_forgotten_once_nothing_is_theirs(store, db):
    job = new_job()
    await store.insert(job)
    await db.execute(
        "INSERT INTO ingresses (owner, heartbeat_at, lost) VALUES ($1, now() - interval '2 days', true),"
        " (gen_random_uuid(), now() - interval '2 days', true), (gen_random_uuid(), now(), true)",
        job.owner,
    )
    await store.forget(keys_after_s=1)
    assert await db.fetchval("SELECT count(*) FROM ingresses") == 2
    await store.complete([completion(job)])
    await store.forget(keys_after_s=1)
    assert await db.fetchval("SELECT count(*) FROM ingresses") == 1
