"""What is claimed from a real PostgreSQL when several tenants wait there: each has its part."""

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from satellite.store import queries
from satellite.store.postgres import PLAN_ONCE

from .test_store import OWNER, new_job


async def waiting(store, tenant, count, *, ago_s=60.0, **changes):
    """So many jobs of a tenant in the database, the oldest first. Their ids."""
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    jobs = [
        new_job(owner=None, tenant=tenant, created_at=at + timedelta(milliseconds=n), **changes)
        for n in range(count)
    ]
    await store.insert_all(jobs)
    return [job.job.job_id for job in jobs]


def by_tenant(claimed):
    return Counter(stored.job.tenant for stored in claimed)


async def test_each_tenant_has_an_equal_part_of_a_claim_and_sends_its_most_pressing(store):
    many = await waiting(store, "many", 100, ago_s=3600)
    urgent = await waiting(store, "many", 1, priority=9, run_at=datetime.now(UTC) - timedelta(hours=2))
    few = await waiting(store, "few", 7)
    one = await waiting(store, "one", 1)
    claimed, more = await store.claim(OWNER, {"m": 30})
    assert by_tenant(claimed) == {"many": 10, "few": 7, "one": 1}
    assert {stored.job.job_id for stored in claimed} == {*urgent, *many[:9], *few, *one}
    assert more == {("m", "many")}
    # Alone with its backlog it has all of the room.
    claimed, more = await store.claim(OWNER, {"m": 30})
    assert [stored.job.job_id for stored in claimed] == many[9:39]
    claimed, more = await store.claim(OWNER, {"m": 200})
    assert (len(claimed), more) == (61, set())


async def test_among_more_tenants_than_there_is_room_for_nobody_is_always_last(store):
    # The last one came last, has the shortest backlog, and says that its jobs are the least urgent.
    for number in range(5):
        await waiting(store, f"t{number}", 30 - number, ago_s=3600 - number, priority=9 - number)
    seen = Counter()
    for _ in range(16):
        claimed, _ = await store.claim(OWNER, {"m": 4})
        assert set(by_tenant(claimed).values()) == {1}
        seen += by_tenant(claimed)
    assert seen.total() == 64
    assert len(seen) == 5  # by lot: that one is left out sixteen times happens once in a billion runs


async def test_a_tenant_may_be_left_out_and_one_whose_jobs_are_delayed_takes_no_part(store):
    for tenant in ("a", "b"):
        await waiting(store, tenant, 10)
    await waiting(store, "later", 10, run_at=datetime.now(UTC) + timedelta(hours=1))
    claimed, more = await store.claim(OWNER, {"m": 8}, without={("m", "a"), ("another", "b")})
    assert (by_tenant(claimed), more) == ({"b": 8}, {("m", "b")})
    claimed, _ = await store.claim(OWNER, {"m": 4})
    assert by_tenant(claimed) == {"a": 2, "b": 2}


async def test_claims_at_the_same_time_share_out_what_waits(store):
    ids = {tenant: await waiting(store, tenant, 40) for tenant in ("a", "b", "c")}
    claims = await asyncio.gather(*(store.claim(uuid4(), {"m": 60}) for _ in range(4)))
    got = [stored.job.job_id for claimed, _ in claims for stored in claimed]
    left, _ = await store.claim(OWNER, {"m": 200})
    got += [stored.job.job_id for stored in left]
    assert sorted(got) == sorted(job_id for some in ids.values() for job_id in some)


async def test_a_claim_reads_what_it_takes_and_not_what_waits(store, db):
    await waiting(store, "many", 20_000, ago_s=3600)
    await waiting(store, "one", 1)
    await db.execute("ANALYZE jobs")
    transaction = db.transaction()
    await transaction.start()
    await db.execute(PLAN_ONCE)
    explained = await db.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {queries.CLAIM_JOBS}", OWNER, ["m"], [100], UUID(int=0), [], []
    )
    await transaction.rollback()
    plan = json.loads(explained)[0]["Plan"]
    assert plan["Actual Rows"] == 51
    assert max(_rows(plan)) < 500


def _rows(node):
    """How many rows each part of a plan has handed on, or looked at in vain."""
    looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    yield looked_at * node["Actual Loops"]
    for part in node.get("Plans", ()):
        yield from _rows(part)
