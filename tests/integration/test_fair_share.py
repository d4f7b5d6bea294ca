"""Several tenants on one ingress: what one has waiting delays no other, and takes no other's room."""

import asyncio

import pytest

from satellite.access.callers import operator
from satellite.errors import QueueFull
from satellite.jobs import new_job_id
from satellite.store import JobFilter
from satellite.submission import Submission

from .conftest import MODEL, serve
from .helpers import eventually, held_back, queue_of, row_of, series
from .test_store import new_job

MANY, ONE = operator("many"), operator("one")


def submission(number, **fields):
    return Submission(model_name=MODEL, data=series(number), config={"forecast_steps": 1}, **fields)


async def backlog(node, count, caller=MANY):
    """So many jobs of one tenant, a thousand at a time."""
    for first in range(0, count, 1000):
        numbers = range(first, min(first + 1000, count))
        answers = await node.service.submit_all([submission(n) for n in numbers], caller)
        for answer in answers:
            assert answer.job.tenant == caller.tenant


async def test_one_job_of_one_tenant_does_not_wait_for_ten_thousand_of_another(database_url, redis, db):
    async with serve(database_url, redis.url, max_held=1000, max_queued=10_000) as node:
        with held_back(node):
            await backlog(node, 10_000)
            # The feed may have looked while the first ones were on their way from the database.
            assert await db.fetchval("SELECT count(*) FROM jobs WHERE owner IS NULL") >= 8000
            with pytest.raises(QueueFull):
                await node.service.submit(submission(0), MANY)
            submitted = await node.service.submit(submission(-1), ONE)
            assert submitted.queue_position == 1
        await eventually(lambda: len(node.replica.inputs) >= 16)
        assert series(-1) in node.replica.inputs[:16]
        assert all(size == 8 for size in node.replica.sizes[:2])


async def test_a_claim_brings_each_tenant_its_part_and_the_order_of_each(database_url, redis):
    async with serve(database_url, redis.url, max_held=8) as node:
        with held_back(node):
            await backlog(node, 60)
            for number in range(40):  # more than its part of what may be held
                await node.service.submit(submission(1000 + number), ONE)
            assert queue_of(node).held["one"] == 4
        await eventually(lambda: len(node.replica.inputs) == 100, timeout_s=30)
        computed = [int(data[0]) for data in node.replica.inputs]
        assert sorted(computed) == [*range(60), *range(1000, 1040)]
        for own in ([n for n in computed if n < 1000], [n for n in computed if n >= 1000]):
            assert own == sorted(own)
        # As long as both wait, they are served alike.
        assert abs(sum(n >= 1000 for n in computed[:64]) - 32) <= 8


async def test_a_job_that_waits_in_the_database_finds_room_though_another_tenant_has_taken_all(
    database_url, redis, db
):
    async with serve(database_url, redis.url, max_held=100) as node:
        with held_back(node):
            await backlog(node, 300)
            job_id, _ = new_job_id()
            body = new_job(owner=None, job_id=job_id, tenant="one", model_name=MODEL, input=str(series(1)))
            await node.service.store.insert(body)
            many = queue_of(node).held["many"]
            assert 100 <= many <= 200  # a claim may have been under way while they were submitted
            await node.service._upkeep.run()  # as after every heartbeat
            node.service._feed.wake()
            await eventually(lambda: queue_of(node).held["one"] == 1)
            assert many <= queue_of(node).held["many"] <= 200
            assert (await row_of(db, str(job_id)))["owner"] == node.service.owner


async def test_a_backlog_of_one_tenant_keeps_no_other_in_the_database(database_url, redis, db):
    async with serve(database_url, redis.url, max_held=4) as node:
        with held_back(node):
            await backlog(node, 20)
            assert 4 <= queue_of(node).held["many"] <= 8
            other = await node.service.submit(submission(1), ONE)
            assert (await row_of(db, str(other.job.job_id)))["owner"] == node.service.owner


async def test_large_inputs_of_one_tenant_leave_another_its_part_of_the_memory(database_url, redis):
    async with serve(database_url, redis.url, max_held_bytes=2048) as node:
        await node.service._feed.close()  # what is claimed counts by number
        with held_back(node):
            for caller in (MANY, ONE):
                for number in range(100):
                    await node.service.submit(submission(number), caller)
            many, one = (queue_of(node).held[caller.tenant] for caller in (MANY, ONE))
            assert 20 < many < 100
            assert one == pytest.approx(many / 2, abs=1)
            assert node.service.held.size_bytes["one"] <= 1024
            assert node.service.held.size_bytes.total == sum(request.size_bytes for request in queue_of(node))
        await eventually(lambda: node.service.held.size_bytes.total == 0)


async def test_a_full_queue_refuses_who_has_its_part_and_takes_the_others(database_url, redis):
    async with serve(database_url, redis.url, max_queued=10) as node:
        with held_back(node):
            await backlog(node, 10)
            for number in range(5):
                await node.service.submit(submission(number), ONE)
            for caller, own in ((MANY, 10), (ONE, 5)):
                with pytest.raises(QueueFull, match=f"and {own} of them, your part, are yours") as caught:
                    await node.service.submit(submission(0), caller)
                assert "15" not in str(caught.value)  # how much of others waits is nobody's business
            third = operator("third")
            answers = await node.service.submit_all([submission(n) for n in range(5)], third)
            assert [isinstance(answer, QueueFull) for answer in answers] == [False] * 3 + [True] * 2


async def test_the_place_in_the_queue_is_that_among_tenants_who_take_turns(database_url, redis):
    async with serve(database_url, redis.url, max_held=10) as node:
        with held_back(node):
            await backlog(node, 30)
            positions = [(await node.service.submit(submission(n), ONE)).queue_position for n in range(3)]
            assert positions == [1, 3, 5]
            await node.service._upkeep.run()
            stored = await node.service.store.list_jobs("one", JobFilter(), before=None, limit=3)
            full = [await node.service.store.get_stored(job.job_id, "one") for job in reversed(stored)]
            assert [await node.service.store.ahead_of(one) for one in full] == [1, 3, 5]


async def test_a_predict_of_one_tenant_does_not_wait_for_those_of_another(database_url, redis):
    async with serve(database_url, redis.url) as node:
        node.replica.takes_s = 0.01

        def predict(number, tenant):
            return node.service.predict(
                MODEL, series(number), {"forecast_steps": 1}, tenant=tenant, wait_s=30
            )

        with held_back(node):
            many = [asyncio.create_task(predict(number, "many")) for number in range(100)]
            await eventually(lambda: queue_of(node).held["many"] == 100)
            one = asyncio.create_task(predict(-1, "one"))
            await eventually(lambda: queue_of(node).held["one"] == 1)
        await asyncio.gather(one, *many)
        assert series(-1) in node.replica.inputs[:8]
