"""Ingresses that are lost, stop or fall silent, and replicas that die: every job still ends, once."""

import asyncio
import json
from uuid import UUID

import orjson
import pytest

from satellite import lease
from satellite.errors import ReplicaDied

from .test_api import SUBMIT


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Leases and heartbeats short enough to wait for."""
    monkeypatch.setattr(lease, "LEASE_S", 1.0)
    monkeypatch.setattr(lease, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(lease, "GRACE_S", 0.5)
    monkeypatch.setattr(lease, "MARGIN_S", 0.1)


async def submit(node, body):
    return (await node.http.post(SUBMIT, json=body)).json()["job_id"]


async def until(db, job_id, status, timeout_s=15):
    async with asyncio.timeout(timeout_s):
        while (row := await db.fetchrow("SELECT * FROM jobs WHERE id = $1", UUID(job_id)))[
            "status"
        ] != status:
            await asyncio.sleep(0.02)
    return row


def kill(node):
    """As SIGKILL would leave it: no heartbeat, nothing handed over, nothing recorded."""
    node.service.lease._keeper.cancel()
    for queue in node.service.queues.values():
        queue.set_replicas(0)
        queue._busy = 10**6


async def test_queued_jobs_of_a_lost_ingress_run_elsewhere(nodes, db, body):
    one, two = nodes
    kill(one)
    ids = [await submit(one, body | {"data": [float(i)] * 4}) for i in range(20)]
    for i, job_id in enumerate(ids):
        row = await until(db, job_id, "succeeded")
        assert json.loads(row["result"])["forecast"] == [i, i]
        assert row["attempt"] == 1  # it had not begun
        assert row["owner"] == two.service.owner


async def test_a_running_job_of_a_lost_ingress_runs_again_and_the_old_result_is_discarded(nodes, db, body):
    one, two = nodes
    one.replica.gate.clear()
    job_id = await submit(one, body)
    await until(db, job_id, "running")
    one.service.lease._keeper.cancel()
    row = await until(db, job_id, "succeeded")
    assert (row["attempt"], row["owner"]) == (2, two.service.owner)
    one.replica.gate.set()  # the paused ingress goes on, and completes what is no longer its own
    await asyncio.sleep(0.3)
    again = await db.fetchrow("SELECT * FROM jobs WHERE id = $1", UUID(job_id))
    assert dict(again) == dict(row)


async def test_what_a_lost_ingress_ran_may_run_again_in_one_batch(nodes, db, body):
    one, two = nodes  # its replicas live: none of the jobs is to blame
    one.replica.gate.clear()
    ids = [await submit(one, body | {"data": [float(i)] * 4}) for i in range(3)]
    for job_id in ids:
        await until(db, job_id, "running")
    one.service.lease._keeper.cancel()
    for job_id in ids:
        assert (await until(db, job_id, "succeeded"))["attempt"] == 2
    assert two.replica.sizes == [3]


async def test_an_ingress_that_lives_keeps_its_jobs(nodes, db, body):
    one, _ = nodes
    one.replica.gate.clear()
    job_id = await submit(one, body)
    await until(db, job_id, "running")
    await asyncio.sleep(2.5)  # longer than the lease
    one.replica.gate.set()
    row = await until(db, job_id, "succeeded")
    assert (row["attempt"], row["owner"]) == (1, one.service.owner)


async def test_a_clean_stop_hands_waiting_jobs_back_at_once(nodes, db, body, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_S", 60.0)
    one, two = nodes
    queue = one.service.queues[body["model_name"]]
    queue._busy = 10**6  # no room: they wait
    ids = [await submit(one, body) for _ in range(5)]
    queue.clear_jobs()
    await one.service.lease.close()
    for job_id in ids:
        row = await until(db, job_id, "succeeded", timeout_s=5)
        assert row["owner"] == two.service.owner


async def lose(node, db):
    """Declare an ingress lost, as another one does that has not heard of it, and wait until it knows."""
    before = node.service.owner
    await db.execute("UPDATE ingresses SET lost = true WHERE owner = $1", before)
    async with asyncio.timeout(5):
        while node.service.owner == before:
            await asyncio.sleep(0.01)


async def test_an_ingress_that_was_declared_lost_takes_a_new_name_and_drops_what_waits(node, db, body):
    queue = node.service.queues[body["model_name"]]
    queue._busy = 10**6
    job_id = await submit(node, body)
    await lose(node, db)
    assert len(queue) == 0
    queue._busy = 0
    row = await until(db, job_id, "succeeded")  # claimed anew, by itself
    assert row["owner"] == node.service.owner
    assert sum(node.replica.sizes) == 1


async def test_while_its_lease_is_in_doubt_an_ingress_starts_no_job_and_then_goes_on(node, db, body):
    before = node.service.owner
    node.service.lease._keeper.cancel()
    node.service.lease._renewed_at -= 60  # as after a SIGSTOP
    job_id = await submit(node, body)
    predicted = await node.http.post("/api/v1/inference/predict", json=body)
    assert predicted.json()["status"] == "succeeded"  # it needs no lease
    await asyncio.sleep(0.3)
    assert sum(node.replica.sizes) == 1
    await node.service.lease.renew()
    await node.service._after_heartbeat()
    row = await until(db, job_id, "succeeded")
    assert node.service.owner == before  # nobody had declared it lost
    assert row["attempt"] == 1


async def test_after_an_outage_nobody_is_declared_lost(nodes, db):
    one, two = nodes
    owners = {one.service.owner, two.service.owner}
    await db.execute("UPDATE ingresses SET heartbeat_at = now() - interval '1 hour'")  # all silent as long
    await asyncio.sleep(1.5)
    assert {one.service.owner, two.service.owner} == owners
    assert await db.fetchval("SELECT count(*) FROM ingresses WHERE lost") == 0


async def test_a_job_whose_replica_died_is_run_again(node, db, body):
    node.replica.failure = ReplicaDied("gone")
    job_id = await submit(node, body)
    async with asyncio.timeout(10):
        while not node.replica.sizes:
            await asyncio.sleep(0.01)
    node.replica.failure = None
    row = await until(db, job_id, "succeeded")
    assert row["attempt"] == 2


async def test_a_job_that_kills_replicas_ends_dead_and_its_mates_succeed(node, db, body):
    poison = [13.0] * 4

    async def replica(chunks):
        if any(orjson.loads(data) == poison for chunk in chunks for data, _ in chunk.items):
            raise ReplicaDied("gone")
        return await node.replica(chunks)

    node.service.queues[body["model_name"]]._send = replica
    bodies = [body | {"data": [float(i)] * 4} for i in range(7)] + [body | {"data": poison}]
    ids = await asyncio.gather(*(submit(node, b) for b in bodies))
    for job_id in ids[:-1]:
        await until(db, job_id, "succeeded")
    row = await until(db, ids[-1], "dead")
    assert row["attempt"] == row["max_attempts"] == 3
    assert json.loads(row["error"])["code"] == "replica_died"


async def test_a_lost_job_without_an_attempt_left_ends_dead(nodes, db, body):
    one, _ = nodes
    one.replica.gate.clear()
    job_id = await submit(one, body)
    await until(db, job_id, "running")
    await db.execute("UPDATE jobs SET max_attempts = 1 WHERE id = $1", UUID(job_id))
    one.service.lease._keeper.cancel()
    row = await until(db, job_id, "dead")
    assert json.loads(row["error"])["code"] == "lease_lost"
    assert row["attempt"] == 1


async def test_a_lease_that_runs_out_during_the_insert_leaves_the_job_to_whoever_claims_it(
    node, db, body, monkeypatch
):
    insert, reached, gate = node.service.store._insert, asyncio.Event(), asyncio.Event()

    async def held(jobs):
        reached.set()
        await gate.wait()
        return await insert(jobs)

    monkeypatch.setattr(node.service.store._inserts, "_write", held)
    call = asyncio.create_task(submit(node, body))
    await reached.wait()
    await lose(node, db)
    gate.set()
    job_id = await call
    row = await until(db, job_id, "succeeded")
    assert row["owner"] == node.service.owner
    answer = await node.http.get(f"/api/v1/inference/result/{job_id}", params={"wait_s": 5})
    assert answer.json()["status"] == "succeeded"
