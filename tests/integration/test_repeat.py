"""Repeating jobs: one that has ended, with or without changes, and all that are dead."""

import asyncio
from collections import Counter

from satellite.errors import ReplicaDied

from .conftest import MODEL
from .helpers import (
    JOBS,
    UNKNOWN,
    ended,
    held_back,
    series,
    shown,
    submitted,
)
from .test_api import check_problem


async def test_a_job_that_ended_can_be_repeated_with_changes(node):
    first = await submitted(node, 1, labels={"a": "b"}, priority=2, max_attempts=2)
    await ended(node, first)
    answer = await node.http.post(f"{JOBS}/{first}/retry", json={"data": series(5), "priority": 8})
    assert answer.status_code == 202
    second = answer.json()
    assert second["parent_id"] == first
    assert second["job_id"] != first
    result = await ended(node, second["job_id"])
    assert result["result"]["forecast"] == [5.0]  # its config, our data
    body = await shown(node, second["job_id"])
    assert (body["parent_id"], body["priority"], body["labels"]) == (first, 8, {"a": "b"})
    assert (body["max_attempts"], body["attempt"]) == (2, 1)
    assert (await shown(node, first))["data"] == series(1)  # what ended is as it was
    plain = (await node.http.post(f"{JOBS}/{first}/retry")).json()
    assert (await ended(node, plain["job_id"]))["result"]["forecast"] == [1.0]


async def test_a_repetition_with_a_key_is_made_once(node):
    first = await submitted(node)
    await ended(node, first)
    send = {"json": {"priority": 1}, "headers": {"Idempotency-Key": "k"}}
    answers = await asyncio.gather(*(node.http.post(f"{JOBS}/{first}/retry", **send) for _ in range(5)))
    assert len({a.json()["job_id"] for a in answers}) == 1
    assert sum("idempotent-replayed" not in a.headers for a in answers) == 1
    other = await node.http.post(f"{JOBS}/{first}/retry", json={}, headers={"Idempotency-Key": "k"})
    check_problem(other, 409, "idempotency_conflict")


async def test_a_job_that_has_not_ended_cannot_be_repeated_or_deleted(node):
    with held_back(node):
        job_id = await submitted(node)
        check_problem(await node.http.post(f"{JOBS}/{job_id}/retry"), 409, "job_not_finished")
        check_problem(await node.http.delete(f"{JOBS}/{job_id}"), 409, "job_not_finished")
    assert (await ended(node, job_id))["status"] == "succeeded"


async def test_a_repetition_is_checked_like_a_submission(node):
    job_id = await submitted(node)
    await ended(node, job_id)
    for edits in ({"data": []}, {"model_name": MODEL}, {"priority": -1}, {"config": {"x": 1}}, [], 1):
        answer = await node.http.post(f"{JOBS}/{job_id}/retry", json=edits)
        check_problem(answer, 422, "invalid_request")


async def dead_jobs(node, numbers):
    """Jobs whose replica dies under their only attempt."""
    node.replica.failure = ReplicaDied("gone")
    ids = [await submitted(node, n, max_attempts=1) for n in numbers]
    for job_id in ids:
        assert (await ended(node, job_id))["status"] == "dead"
    node.replica.failure = None
    return ids


async def test_dead_jobs_are_replayed_once_even_by_two_at_the_same_time(nodes, db):
    one, two = nodes
    dead = await dead_jobs(one, range(6))
    fine = await submitted(one, 50)
    await ended(one, fine)
    answers = await asyncio.gather(*(node.http.post(f"{JOBS}/retry") for node in (one, two, one, two)))
    for answer in answers:
        assert answer.status_code == 200
        items = answer.json()["items"]
        assert [i["parent_id"] for i in items] in (dead, [])  # oldest first; none once they all have a child
    children = await db.fetch("SELECT id, parent_id FROM jobs WHERE parent_id IS NOT NULL")
    assert Counter(str(c["parent_id"]) for c in children) == dict.fromkeys(dead, 1)
    for child in children:
        assert (await ended(one, str(child["id"])))["status"] == "succeeded"
    assert (await one.http.post(f"{JOBS}/retry")).json() == {
        "replayed": 0,
        "remaining": 0,
        "items": [],
    }


async def test_a_replay_takes_what_its_filters_ask_for(node, db):
    dead = await dead_jobs(node, range(5))
    await db.execute("ALTER TABLE jobs DISABLE TRIGGER jobs_guard_status")
    await db.execute("""UPDATE jobs SET error = '{"code": "lease_lost"}' WHERE id = $1""", dead[4])
    await db.execute("ALTER TABLE jobs ENABLE TRIGGER jobs_guard_status")
    fine = await submitted(node, 50)
    await ended(node, fine)

    async def replayed(**fields):
        answer = await node.http.post(f"{JOBS}/retry", json=fields)
        assert answer.status_code == 200, answer.text
        assert answer.json()["replayed"] == len(answer.json()["items"])
        return [item["parent_id"] for item in answer.json()["items"]]

    assert await replayed(model_name="nothing") == []
    assert await replayed(error_code="model_failed") == []
    assert await replayed(job_ids=[fine, UNKNOWN]) == []
    assert await replayed(job_ids=[dead[3], fine]) == [dead[3]]
    assert await replayed(error_code="lease_lost") == [dead[4]]
    assert await replayed(model_name=MODEL, limit=2) == dead[:2]
    assert await replayed(model_name=MODEL, error_code="replica_died") == dead[2:3]
    for wrong in ({"limit": 0}, {"job_ids": []}, {"job_ids": ["x"]}, {"x": 1}, {"model_name": 1}):
        check_problem(await node.http.post(f"{JOBS}/retry", json=wrong), 422, "invalid_request")
