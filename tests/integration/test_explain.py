"""Why a job took as long as it did: measured on real jobs, each slow in its own way."""

import asyncio
from datetime import datetime

import pytest

from satellite import lease
from satellite.errors import ModelFailed, ReplicaDied

from .conftest import serve
from .helpers import (
    JOBS,
    accepted,
    busy,
    ended,
    eventually,
    held_back,
    queue_of,
    shown,
    soon,
    submitted,
)

CLOSE_S = 0.005


async def explained(node, job_id):
    answer = await node.http.get(f"{JOBS}/{job_id}/explain")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert sum(told["parts_s"].values()) == pytest.approx(told["total_s"], abs=CLOSE_S)
    assert min(told["parts_s"].values()) >= 0
    job = await shown(node, job_id)
    if job["finished_at"]:
        took = datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job["created_at"])
        assert told["total_s"] == pytest.approx(took.total_seconds(), abs=CLOSE_S)
    return told


def longest(told):
    return max(told["parts_s"], key=told["parts_s"].get)


async def test_a_lone_job_waited_for_its_batch_to_fill(database_url, redis):
    async with serve(database_url, redis.url, window_s=0.4) as node:
        job = await accepted(node)
        assert job["links"]["explain"] == f"{JOBS}/{job['job_id']}/explain"
        await ended(node, job["job_id"])
        told = await explained(node, job["job_id"])
        assert longest(told) == "batch_fill"
        assert told["parts_s"]["batch_fill"] == pytest.approx(0.4, abs=0.15)
        assert told["batch"]["flush_reason"] == "timer"
        assert (told["batch"]["size"], told["batch"]["mates"]) == (1, [])
        assert "of it waiting for its batch to fill; it was computed alone" in told["summary"]


async def test_a_full_batch_names_the_mates_of_each(node):
    with held_back(node):
        ids = [await submitted(node, n) for n in range(8)]
    for job_id in ids:
        await ended(node, job_id)
        told = await explained(node, job_id)
        assert (told["batch"]["flush_reason"], told["batch"]["size"]) == ("full", 8)
        assert told["batch"]["mates"] == [other for other in ids if other != job_id]
        assert told["batch"]["replica_id"] == "local"


async def test_a_deadline_a_flush_and_a_drain_are_told(database_url, redis):
    async with serve(database_url, redis.url, window_s=8) as node:
        job_id = await submitted(node, deadline_s=5)
        await ended(node, job_id)
        told = await explained(node, job_id)
        assert (told["batch"]["flush_reason"], longest(told) != "batch_fill") == ("deadline", True)
        waits = await submitted(node)
        stored = await node.http.post(
            "/api/v1/inference/predict",
            json={"model_name": "moving_average", "data": [1.0] * 4, "store": True},
        )
        flushed = await explained(node, stored.json()["job_id"])
        assert (flushed["batch"]["flush_reason"], flushed["batch"]["mates"]) == ("flush", [waits])
        last = await submitted(node)
        queue_of(node).drain()
        await ended(node, last)
        told = await explained(node, last)
        assert told["batch"]["flush_reason"] == "drain"
        assert "about to stop" in told["batch"]["left_because"]


async def test_a_job_behind_a_busy_replica_waited_in_the_queue(node):
    async with busy(node):
        job_id = await submitted(node)
        await asyncio.sleep(0.3)
        told = await explained(node, job_id)
        assert (told["status"], longest(told)) == ("queued", "so_far")
        assert told["queue_position"] is not None
        assert told["batch"] is None
    await ended(node, job_id)
    told = await explained(node, job_id)
    assert longest(told) == "queue"
    assert told["parts_s"]["queue"] == pytest.approx(0.3, abs=0.15)
    assert "waiting for a free replica" in told["summary"]


async def test_a_slow_model_is_told(node):
    node.replica.takes_s = 0.3
    job_id = await submitted(node)
    await eventually(lambda: node.replica.sizes)
    running = await explained(node, job_id)
    assert (running["status"], running["eta_s"]) == ("running", None)
    assert "is being computed" in running["summary"]
    await ended(node, job_id)
    told = await explained(node, job_id)
    assert longest(told) == "compute"
    assert told["parts_s"]["compute"] == pytest.approx(0.3, abs=0.1)


async def test_a_delayed_job_is_told(node):
    job_id = await submitted(node, run_at=soon(0.4))
    await ended(node, job_id)
    told = await explained(node, job_id)
    assert longest(told) == "delay"
    assert told["parts_s"]["delay"] == pytest.approx(0.4, abs=0.1)


async def test_a_retried_job_spent_its_time_on_earlier_attempts(node):
    node.replica.takes_s = 0.15
    node.replica.failure = ReplicaDied("it ran out of memory")
    job_id = await submitted(node, max_attempts=5)
    await eventually(lambda: _sizes(node) == 2)
    node.replica.failure, node.replica.takes_s = None, 0.0
    await ended(node, job_id)
    told = await explained(node, job_id)
    assert longest(told) == "earlier_attempts"
    count = told["attempt"]
    assert [a["attempt"] for a in told["attempts"]] == list(range(1, count + 1))
    for past in told["attempts"][:-1]:
        assert (past["code"], past["detail"]) == ("replica_died", "it ran out of memory")
        assert past["started_at"] < past["ended_at"]
    assert told["attempts"][-1]["code"] is None
    assert told["attempts"][-1]["replica_id"] == "local"
    assert f"it took {count} attempts" in told["summary"]


def _sizes(node):
    return len(node.replica.sizes)


async def test_a_job_of_a_lost_ingress_spent_its_time_on_the_earlier_attempt(
    database_url, redis, monkeypatch
):
    for name, value in {"LEASE_S": 1.0, "HEARTBEAT_S": 0.1, "GRACE_S": 0.1, "MARGIN_S": 0.1}.items():
        monkeypatch.setattr(lease, name, value)
    async with serve(database_url, redis.url) as one, serve(database_url, redis.url) as two:
        one.replica.gate.clear()
        job_id = await submitted(one)
        await eventually(lambda: _runs(two, job_id))
        one.service.lease._keeper.cancel()
        await ended(two, job_id)
        told = await explained(two, job_id)
    assert told["attempt"] == 2
    assert longest(told) == "earlier_attempts"
    assert told["attempts"][0]["code"] == "lease_lost"


async def _runs(node, job_id):
    return (await shown(node, job_id))["status"] == "running"


async def test_a_dead_a_failed_a_cancelled_and_an_expired_job_are_told(node):
    node.replica.failure = ReplicaDied("gone")
    dead = await submitted(node, max_attempts=2)
    assert (await ended(node, dead))["status"] == "dead"
    node.replica.failure = ModelFailed("it raised")
    failed = await submitted(node)
    assert (await ended(node, failed))["status"] == "failed"
    with held_back(node):
        cancelled, expired = await submitted(node), await submitted(node, deadline_s=0.1)
        await node.http.post(f"{JOBS}/{cancelled}/cancel")
        await ended(node, expired)
    for job_id, words in {
        dead: "It is dead: none of its 2 attempts came to an end",
        failed: "It failed: the model refused it or raised an error",
        cancelled: "It was cancelled",
        expired: "It expired: it could not start before its deadline",
    }.items():
        told = await explained(node, job_id)
        assert told["summary"].startswith(words)
        assert (told["queue_position"], told["eta_s"]) == (None, None)
    last = (await explained(node, dead))["attempts"][-1]
    assert (last["attempt"], last["code"]) == (2, "replica_died")
    assert (await explained(node, failed))["attempts"][-1]["code"] == "model_failed"


async def test_a_queued_job_is_told_when_it_will_end(node):
    queue_of(node).compute_s = 1.0
    async with busy(node):
        job_id = await submitted(node)
        told = await explained(node, job_id)
        assert told["eta_s"] >= 1
        assert f"it will probably have ended in {told['eta_s']:.1f} s" in told["summary"]
