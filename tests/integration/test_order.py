"""Which job comes first, and when: priorities, delays, deadlines, limits, what an ingress may hold."""

import asyncio
import random
from datetime import datetime, timedelta

import pytest

from satellite import lease
from satellite.errors import ReplicaDied

from .conftest import serve
from .helpers import (
    BATCH,
    accepted,
    busy,
    ended,
    eventually,
    held_back,
    job_body,
    queue_of,
    row_of,
    series,
    shown,
    soon,
    submitted,
)
from .test_api import SUBMIT, check_problem


async def test_jobs_are_computed_in_the_order_of_their_priorities(node):
    numbers = list(range(40))
    random.Random(4).shuffle(numbers)
    with held_back(node):
        for n in numbers:
            await submitted(node, n, priority=n // 4)
    await eventually(lambda: len(node.replica.inputs) == 40)
    computed = [int(data[0]) for data in node.replica.inputs]
    # The most urgent first; equals in the order in which they came.
    assert computed == sorted(numbers, key=lambda n: (-(n // 4), numbers.index(n)))


async def test_jobs_beyond_what_an_ingress_may_hold_wait_in_the_database_and_run_by_rank(
    database_url, redis, db
):
    async with serve(database_url, redis.url, max_held=8) as node:
        numbers = list(range(60))
        random.Random(4).shuffle(numbers)
        with held_back(node):
            for n in range(100, 108):
                await submitted(node, n)
            ids = [await submitted(node, n, priority=n // 6) for n in numbers]
            assert len(queue_of(node)) == 8
            assert await db.fetchval("SELECT count(*) FROM jobs WHERE owner IS NULL") == 60
        for job_id in ids:
            assert (await ended(node, job_id))["status"] == "succeeded"
        computed = [int(data[0]) for data in node.replica.inputs]
        assert computed[:8] == list(range(100, 108))
        assert computed[8:] == sorted(numbers, key=lambda n: (-(n // 6), numbers.index(n)))
        assert not node.service.held.ids
        assert (await accepted(node))["queue_position"] == 0  # what was claimed is not counted twice


async def test_a_batch_beyond_what_an_ingress_may_hold_waits_in_the_database(database_url, redis, db):
    async with serve(database_url, redis.url, max_held=8) as node:
        with held_back(node):
            items = [job_body(n) for n in range(50)]
            answer = (await node.http.post(BATCH, json={"items": items})).json()
            assert [v["queue_position"] for v in answer["items"]] == list(range(50))
            assert len(queue_of(node)) == 8
            assert await db.fetchval("SELECT count(*) FROM jobs WHERE owner IS NULL") == 42
        await eventually(lambda: len(node.replica.inputs) == 50)
        assert node.replica.inputs == [series(n) for n in range(50)]


async def test_a_delayed_job_is_before_nobody_until_its_time_has_come(node):
    for _ in range(3):
        await submitted(node, run_at=soon(60), priority=9)
    job = await accepted(node)
    assert job["queue_position"] == 0
    await ended(node, job["job_id"])


async def test_a_delayed_job_runs_at_its_time_and_not_before(nodes, db):
    one, two = nodes
    at = soon(0.4)
    job_id = await submitted(one, run_at=at)
    for node in nodes:
        node.service._feed.wake()  # none takes it early
    await asyncio.sleep(0.1)
    assert (await row_of(db, job_id))["owner"] is None
    assert (await shown(two, job_id))["status"] == "queued"
    result = await ended(two, job_id)
    late = datetime.fromisoformat(result["started_at"]) - datetime.fromisoformat(at)
    assert timedelta() <= late < timedelta(seconds=0.5)  # at its time, not when somebody looks next


async def test_a_delayed_job_runs_on_time_though_its_ingress_has_gone(nodes):
    one, two = nodes
    at = soon(0.3)
    job_id = await submitted(one, run_at=at)
    await one.service._feed.close()
    result = await ended(two, job_id)
    late = datetime.fromisoformat(result["started_at"]) - datetime.fromisoformat(at)
    assert timedelta() <= late < timedelta(seconds=1.5)
    assert sum(two.replica.sizes) == 1


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "2000-01-01T00:00:00+02:00"])
async def test_a_moment_that_has_passed_means_now_and_gains_nothing(shared, at):
    job_id = await submitted(shared, run_at=at)
    assert (await ended(shared, job_id))["status"] == "succeeded"
    body = await shown(shared, job_id)
    assert body["run_at"] == body["created_at"]


async def test_a_job_whose_deadline_passes_while_it_waits_expires_and_never_runs(node, db):
    with held_back(node):
        job_id = await submitted(node, 1, deadline_s=0.2)
        result = await ended(node, job_id)
    assert (result["status"], result["error"]["code"]) == ("expired", "deadline_passed")
    assert result["started_at"] is None
    await ended(node, await submitted(node, 2))
    assert node.replica.inputs == [series(2)]
    row = await row_of(db, job_id)
    assert row["status"] == "expired"
    assert timedelta(seconds=0.19) < row["finished_at"] - row["created_at"] < timedelta(seconds=1)


async def test_a_job_whose_deadline_passes_in_the_database_expires_and_never_runs(node):
    late = await submitted(node, 1, run_at=soon(0.5), deadline_s=0.1)
    early = await submitted(node, 2, run_at=soon(0.5), deadline_s=60)
    await asyncio.sleep(0.15)
    await node.service._upkeep.run()  # as after every heartbeat
    result = await ended(node, late)
    assert (result["status"], result["error"]["code"]) == ("expired", "deadline_passed")
    assert (await ended(node, early))["status"] == "succeeded"
    assert node.replica.inputs == [series(2)]


async def test_a_deadline_within_the_window_makes_the_batch_leave_early(database_url, redis, db):
    async with serve(database_url, redis.url, window_s=8) as node:
        await submitted(node, 1)
        job_id = await submitted(node, 2, deadline_s=6)
        async with asyncio.timeout(3):
            result = await ended(node, job_id)
        assert result["status"] == "succeeded"
        assert (await row_of(db, job_id))["flush_reason"] == "deadline"
        assert node.replica.sizes == [2]


async def test_a_job_may_have_fewer_or_more_attempts_than_its_model_gives(node):
    node.replica.failure = ReplicaDied("gone")
    ids = {most: await submitted(node, most, max_attempts=most) for most in (1, 2, 4)}
    for most, job_id in ids.items():
        result = await ended(node, job_id)
        assert (result["status"], result["attempt"]) == ("dead", most)
        body = await shown(node, job_id)
        assert [a["attempt"] for a in body["attempts"]] == list(range(1, most))
        assert body["max_attempts"] == most


async def test_the_queues_of_all_ingresses_count_for_the_limit(database_url, redis, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.05)
    async with (
        serve(database_url, redis.url, max_queued=5) as one,
        serve(database_url, redis.url, max_queued=5) as two,
    ):
        with held_back(one, two):
            for n in range(3):
                await submitted(one, n)
            for n in range(2):
                await submitted(two, n)
            await eventually(lambda: (queue_of(one).elsewhere.total, queue_of(two).elsewhere.total) == (2, 3))
            for node in (one, two):
                answer = await node.http.post(SUBMIT, json=job_body())
                problem = check_problem(answer, 429, "queue_full")
                assert int(answer.headers["retry-after"]) == problem["retry_after_s"] >= 1
        await eventually(lambda: sum(one.replica.sizes) + sum(two.replica.sizes) == 5)
        await eventually(lambda: (queue_of(one).elsewhere.total, queue_of(two).elsewhere.total) == (0, 0))
        await submitted(one)


async def test_the_place_in_the_queue_and_the_time_to_the_end_are_told(node, db):
    await ended(node, await submitted(node))
    queue = queue_of(node)
    queue.compute_s = 1.0  # a second a batch
    async with busy(node) as ids:
        waiting = [await accepted(node, n) for n in range(9)]
        assert [job["queue_position"] for job in waiting] == list(range(9))
        # Two batches are before them, then their own; the ninth is in the one after.
        assert [job["eta_s"] for job in waiting] == [3.0] * 8 + [4.0]
        urgent = await accepted(node, 9, priority=9)
        assert urgent["queue_position"] == 0
        running = "SELECT count(*) FROM jobs WHERE status = 'running' AND id = ANY($1::uuid[])"
        await eventually(lambda: _equals(db.fetchval(running, ids), 16))
        positions = [(await shown(node, job["job_id"]))["queue_position"] for job in [urgent, *waiting]]
        assert positions == list(range(10))
        assert (await shown(node, waiting[8]["job_id"]))["eta_s"] == 4.0
        assert (await shown(node, ids[0]))["queue_position"] is None


async def _equals(awaitable, value):
    return await awaitable == value
