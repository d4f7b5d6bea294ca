"""Log readers: every step reaches the sink, in order, in one process at a time, whoever stops or freezes."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from satellite.jobs import JobStatus
from satellite.logreader import LogReader
from satellite.store import queries

from .helpers import eventually
from .test_retention import tables
from .test_store import completion, new_job


class Sink:
    """Keeps what it is handed, and refuses it while it is broken."""

    def __init__(self):
        self.events, self.pages, self.broken = [], [], False

    async def __call__(self, page):
        if self.broken:
            raise OSError("away")
        self.pages.append(page)
        self.events += page.events

    @property
    def steps(self):
        return [(event.job_id, event.status) for event in self.events]


@contextlib.asynccontextmanager
async def reading(store, sink, **options):
    reader = LogReader(store, "test", sink, **options)
    reader.start()
    try:
        yield reader
    finally:
        await reader.close()


async def stored(store, count):
    jobs = [new_job() for _ in range(count)]
    await store.insert_all(jobs)
    return [job.job.job_id for job in jobs]


def queued(ids):
    return {(job_id, JobStatus.QUEUED) for job_id in ids}


async def state_of(store):
    """The one reader of these tests; the outbox of webhooks is another."""
    (state,) = [reader for reader in await store.log_readers() if reader.name == "test"]
    return state


async def test_a_new_reader_begins_at_the_end_and_the_next_goes_on_where_the_last_has_stopped(store):
    await stored(store, 3)
    sink = Sink()
    async with reading(store, sink) as reader:
        await eventually(lambda: reader.is_owner)
        first = await stored(store, 1200)  # several pages
        await eventually(lambda: len(sink.events) == 1200)
        assert set(sink.steps) == queued(first)
    state = await state_of(store)
    assert (state.name, state.owner, state.behind) == ("test", None, 0)
    missed = await stored(store, 2)
    assert (await state_of(store)).behind == 2
    again = Sink()
    async with reading(store, again):
        await eventually(lambda: len(again.events) == 2)
    assert set(again.steps) == queued(missed)
    positions = [event.position for event in sink.events + again.events]
    assert positions == sorted(set(positions))


async def test_one_reads_and_another_takes_over_when_it_stops(store):
    one, two = Sink(), Sink()
    async with reading(store, two) as second:
        await eventually(lambda: second.is_owner)
        async with reading(store, one) as first:
            ids = await stored(store, 5)
            await eventually(lambda: len(two.events) == 5)
            assert not first.is_owner
            await second.close()
            await eventually(lambda: first.is_owner)
            more = await stored(store, 5)
            await eventually(lambda: len(one.events) == 5)
    assert (set(two.steps), set(one.steps)) == (queued(ids), queued(more))


async def test_what_the_sink_refuses_comes_again(store):
    sink = Sink()
    async with reading(store, sink) as reader:
        await eventually(lambda: reader.is_owner)
        sink.broken = True
        ids = await stored(store, 3)
        await eventually(lambda: reader.failure == "OSError: away")
        assert (await state_of(store)).behind == 3
        sink.broken = False
        await eventually(lambda: len(sink.events) == 3)
        await eventually(lambda: reader.failure is None)
    assert set(sink.steps) == queued(ids)


async def test_only_the_steps_asked_for_and_the_position_moves_past_the_others(store):
    sink = Sink()
    async with reading(store, sink, statuses=[JobStatus.SUCCEEDED]) as reader:
        await eventually(lambda: reader.is_owner)
        job = new_job()
        await store.insert(job)
        assert all(await store.complete([completion(job)]))
        await stored(store, 3)
        await eventually(lambda: sink.events)

        async def caught_up():
            return (await state_of(store)).behind == 0

        await eventually(caught_up)
    assert sink.steps == [(job.job.job_id, JobStatus.SUCCEEDED)]
    assert sink.events[0].tenant == "default"


async def test_who_was_silent_loses_the_reader_and_can_move_it_no_more(store, db):
    frozen, sink = asyncio.Event(), Sink()

    async def freeze(page):
        frozen.set()
        frozen.page = page
        await asyncio.Event().wait()

    async with reading(store, freeze) as first:
        await eventually(lambda: first.is_owner)
        ids = await stored(store, 2)
        await frozen.wait()
        # As if its process had stood still for longer than the lease.
        await db.execute("UPDATE log_readers SET renewed_at = now() - interval '1 minute'")
        async with reading(store, sink) as second:
            await eventually(lambda: len(sink.events) == 2)
            assert set(sink.steps) == queued(ids)
            # What the first would write now, in its own transaction or after its sink:
            assert await db.fetchrow(queries.ADVANCE_READER, *frozen.page.claim) is None
            await eventually(lambda: not first.is_owner)
            assert second.is_owner


async def test_a_sink_in_the_same_database_moves_the_reader_in_its_own_transaction(store, db):
    await db.execute("CREATE TABLE copies (job_id uuid)")
    failures = iter([True, False])

    async def copy(page):
        async with db.transaction():
            await db.executemany("INSERT INTO copies VALUES ($1)", [(e.job_id,) for e in page.events])
            assert await db.fetchrow(queries.ADVANCE_READER, *page.claim)
        if next(failures, False):
            raise OSError("after the commit")

    async with reading(store, copy) as reader:
        await eventually(lambda: reader.is_owner)
        ids = await stored(store, 2)
        await eventually(lambda: reader.failure)
        more = await stored(store, 1)

        async def copied():
            return await store.connections.pool.fetchval("SELECT count(*) FROM copies") >= 3

        await eventually(copied)
    rows = await db.fetch("SELECT job_id FROM copies")
    assert sorted(row["job_id"] for row in rows) == sorted(ids + more)  # each once


@pytest.mark.parametrize(("silent_days", "kept"), [(1, True), (8, False)])
async def test_a_day_that_a_reader_has_not_read_is_kept_unless_nobody_runs_it(store, db, silent_days, kept):
    days = {age: datetime.now(UTC) - timedelta(days=age) for age in (5, 40)}
    for age, at in days.items():
        await db.execute("SELECT ensure_partitions($1::date, 1)", at.date())
        await db.execute(
            "INSERT INTO events (xid, recorded_at, at, attempt, status, job_id, tenant, model_name)"
            " VALUES ($1::text::xid8, $2, $2, 1, 'queued', gen_random_uuid(), 'default', 'm')",
            str(100 - age),
            at,
        )
    await db.execute(
        "INSERT INTO log_readers (name, xid, seq, renewed_at)"
        " VALUES ('slow', '1', 1, now() - make_interval(days => $1))",
        silent_days,
    )
    await store.drop_partitions(retention_days=30, log_days=3)
    left = await tables(db, "events")
    assert (f"events_{days[5]:%Y%m%d}" in left) is kept
    assert f"events_{days[40]:%Y%m%d}" not in left  # longer than jobs nothing is kept for anybody
    await db.execute("UPDATE log_readers SET xid = '95', seq = 1 << 40")
    await store.drop_partitions(retention_days=30, log_days=3)
    assert f"events_{days[5]:%Y%m%d}" not in await tables(db, "events")
