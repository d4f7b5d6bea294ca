"""A job that was cancelled before its start never runs; later, its result is discarded; one thing wins."""

import asyncio
import random
from uuid import UUID

import pytest

from satellite import control, lease
from satellite.errors import ReplicaDied

from .conftest import free_port, serve
from .helpers import (
    JOBS,
    ended,
    eventually,
    held_back,
    queue_of,
    row_of,
    series,
    shown,
    soon,
    submitted,
)
from .test_api import check_problem


async def cancel(node, job_id):
    return await node.http.post(f"{JOBS}/{job_id}/cancel")


async def cancelled(node, job_id):
    answer = await cancel(node, job_id)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["job_id"], body["status"]) == (job_id, "cancelled")
    assert body["finished_at"]
    return body


async def steps_of(db, job_id):
    rows = await db.fetch("SELECT status FROM events WHERE job_id = $1 ORDER BY xid, seq", UUID(job_id))
    return [row["status"] for row in rows]


async def test_a_job_that_waits_here_never_runs(node, db):
    with held_back(node):
        job_id = await submitted(node, 1)
        await cancelled(node, job_id)
        assert len(queue_of(node)) == 0
    await ended(node, await submitted(node, 2))
    assert node.replica.inputs == [series(2)]
    assert await steps_of(db, job_id) == ["queued", "cancelled"]
    result = await ended(node, job_id)
    assert (result["error"]["code"], result["started_at"]) == ("cancelled", None)


async def test_a_job_that_the_other_ingress_holds_never_runs(nodes, db):
    one, two = nodes
    with held_back(one):
        job_id = await submitted(one, 1)
        async with asyncio.timeout(2):  # asked over Redis, not at the next heartbeat
            await cancelled(two, job_id)
        assert len(queue_of(one)) == 0
    await ended(one, await submitted(one, 2))
    assert one.replica.inputs == [series(2)]
    assert two.replica.inputs == []
    assert await steps_of(db, job_id) == ["queued", "cancelled"]


async def test_a_job_that_nobody_holds_never_runs(nodes, db):
    one, two = nodes
    job_id = await submitted(one, run_at=soon(0.3))
    body = await cancelled(two, job_id)
    assert body["cancel_requested"] is True
    await asyncio.sleep(0.5)
    assert one.replica.inputs == two.replica.inputs == []
    assert await steps_of(db, job_id) == ["queued", "cancelled"]
    assert (await ended(one, job_id))["error"]["code"] == "cancelled"  # as that of any cancelled job


@pytest.mark.parametrize("where", [0, 1], ids=["here", "elsewhere"])
async def test_of_a_job_that_runs_the_result_is_discarded(nodes, db, where):
    one = nodes[0]
    one.replica.gate.clear()
    job_id = await submitted(one, 1)
    await eventually(lambda: one.replica.sizes)
    body = await cancelled(nodes[where], job_id)
    before = await row_of(db, job_id)
    one.replica.gate.set()
    await eventually(lambda: one.replica.inputs)
    await asyncio.sleep(0.1)
    assert await row_of(db, job_id) == before
    assert before["result"] is None
    result = await ended(one, job_id)
    assert (result["status"], result["finished_at"]) == ("cancelled", body["finished_at"])
    assert await steps_of(db, job_id) == ["queued", "running", "cancelled"]
    assert not one.service.held.ids


async def test_a_job_between_two_attempts_is_not_run_again(node, db):
    node.replica.failure = ReplicaDied("gone")
    job_id = await submitted(node, 1)
    await eventually(lambda: _attempt_is(db, job_id, 2))
    await cancelled(node, job_id)
    node.replica.failure = None
    await asyncio.sleep(0.3)
    assert len(node.replica.sizes) <= 2
    row = await row_of(db, job_id)
    assert (row["status"], row["attempt"] <= 3) == ("cancelled", True)
    assert not node.service.held.ids


async def _attempt_is(db, job_id, attempt):
    return (await row_of(db, job_id))["attempt"] == attempt


async def test_cancelling_twice_is_cancelling_once(nodes, db):
    one, two = nodes
    with held_back(one):
        job_id = await submitted(one)
        answers = await asyncio.gather(*(cancelled(node, job_id) for node in (one, two, one, two)))
    again = await cancelled(two, job_id)
    assert {answer["finished_at"] for answer in answers} == {again["finished_at"]}
    assert await steps_of(db, job_id) == ["queued", "cancelled"]


async def test_a_job_that_ended_otherwise_cannot_be_cancelled(node):
    job_id = await submitted(node)
    result = await ended(node, job_id)
    problem = check_problem(await cancel(node, job_id), 409, "job_finished")
    assert "succeeded" in problem["detail"]
    assert await ended(node, job_id) == result
    assert (await shown(node, job_id))["cancel_requested"] is False


async def test_cancel_and_start_race_and_one_wins(nodes, db):
    one, two = nodes
    chance = random.Random(4)
    one.replica.takes_s = two.replica.takes_s = 0.02

    async def submit_and_cancel(number):
        job_id = await submitted(nodes[number % 2], number)
        await asyncio.sleep(chance.random() * 0.1)
        answer = await cancel(nodes[number // 2 % 2], job_id)
        assert answer.status_code in (200, 409), answer.text
        return job_id, "cancelled" if answer.status_code == 200 else "succeeded"

    answers = await asyncio.gather(*(submit_and_cancel(number) for number in range(120)))
    computed = [data[0] for data in one.replica.inputs + two.replica.inputs]
    assert len(computed) == len(set(computed))
    for number, (job_id, status) in enumerate(answers):
        steps = await steps_of(db, job_id)
        assert (await ended(one, job_id))["status"] == steps[-1] == status
        assert steps in (["queued", status], ["queued", "running", status])
        # Who never started was never computed.
        assert ("running" in steps) == (number in computed)
    assert {status for _, status in answers} == {"cancelled", "succeeded"}


async def test_without_redis_the_holder_hears_of_it_at_its_next_heartbeat(database_url, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.2)
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    async with serve(database_url, nowhere) as one, serve(database_url, nowhere) as two:
        with held_back(one):
            job_id = await submitted(one)
            async with asyncio.timeout(2):
                await cancelled(two, job_id)
            assert len(queue_of(one)) == 0
        assert one.replica.inputs == []


async def test_while_the_holder_does_not_answer_the_cancel_is_asked_for(database_url, redis, db, monkeypatch):
    monkeypatch.setattr(control, "CANCEL_WAIT_S", 0.3)
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    async with serve(database_url, nowhere) as one, serve(database_url, redis.url) as two:
        with held_back(one):
            job_id = await submitted(one)
            answer = await cancel(two, job_id)
            assert answer.status_code == 202
            body = answer.json()
            assert (body["status"], body["cancel_requested"]) == ("queued", True)
            await one.service._upkeep.run()  # its next heartbeat
            assert (await ended(two, job_id))["status"] == "cancelled"
        assert one.replica.inputs == []


async def test_a_cancel_that_a_lost_ingress_was_asked_for_is_kept(database_url, redis, db, monkeypatch):
    monkeypatch.setattr(control, "CANCEL_WAIT_S", 0.1)
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    async with serve(database_url, nowhere) as one, serve(database_url, redis.url) as two:
        with held_back(one):
            waits = await submitted(one, 1)
            one.service.lease._keeper.cancel()
            assert (await cancel(two, waits)).status_code == 202
            await db.execute("UPDATE ingresses SET lost = true WHERE owner = $1", one.service.owner)
            await two.service._upkeep.run()
            assert (await ended(two, waits))["status"] == "cancelled"
        assert one.replica.inputs == two.replica.inputs == []
