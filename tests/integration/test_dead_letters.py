"""Dead jobs in groups, replayed until none is left; and many jobs cancelled in one call."""

import time
from uuid import UUID

import pytest

from satellite.api.schemas import Cancels, DeadLetters
from satellite.errors import TransientFailure
from satellite.jobs import DEFAULT_TENANT
from satellite.store import queries

from .conftest import MODEL
from .helpers import JOBS, UNKNOWN, accepted, ended, held_back, job_body, shown, soon, submitted
from .test_api import check_problem
from .test_repeat import dead_jobs

DEAD_LETTERS = "/api/v1/dead-letters"
CANCEL = f"{JOBS}/cancel"


async def groups(node):
    answer = await node.http.get(DEAD_LETTERS)
    assert answer.status_code == 200, answer.text
    DeadLetters.model_validate(answer.json())
    return answer.json()["groups"]


async def test_dead_jobs_are_grouped_by_model_and_error(node):
    assert await groups(node) == []
    died = await dead_jobs(node, range(3))
    node.replica.failure = TransientFailure("busy")
    transient = await submitted(node, max_attempts=2)
    assert (await ended(node, transient))["status"] == "dead"
    node.replica.failure = None
    await ended(node, await submitted(node))
    first, second = await groups(node)
    assert [first["model_name"], first["error_code"], first["count"]] == [MODEL, "replica_died", 3]
    assert [second["model_name"], second["error_code"], second["count"]] == [MODEL, "transient_failure", 1]
    newest = await shown(node, died[-1])
    assert first["example"]["job_id"] == died[-1]
    assert first["example"]["error"] == newest["error"]
    assert first["newest_at"] == newest["finished_at"]
    assert first["oldest_at"] == (await shown(node, died[0]))["finished_at"]
    assert [past["code"] for past in second["example"]["attempts"]] == ["transient_failure"]
    # All that a list tells of it is told here, too.
    listed = (await node.http.get(JOBS, params={"status": "dead", "limit": 1})).json()["jobs"][0]
    assert {**second["example"], "attempts": ...} == {**listed, "attempts": ...}
    # What was repeated is no dead letter any more.
    answer = (await node.http.post(f"{JOBS}/retry", json={"error_code": "replica_died", "limit": 2})).json()
    assert (answer["replayed"], answer["remaining"]) == (2, 1)
    assert {group["error_code"]: group["count"] for group in await groups(node)} == {
        "replica_died": 1,
        "transient_failure": 1,
    }
    answer = (await node.http.post(f"{JOBS}/retry", json={"job_ids": [died[2], transient]})).json()
    assert (answer["replayed"], answer["remaining"]) == (2, 0)
    assert await groups(node) == []


async def test_dead_letters_of_another_tenant_are_not_shown(node, db):
    await dead_jobs(node, range(1))
    await db.execute("ALTER TABLE jobs DISABLE TRIGGER jobs_guard_status")
    await db.execute("UPDATE jobs SET tenant = 'other'")
    await db.execute("ALTER TABLE jobs ENABLE TRIGGER jobs_guard_status")
    assert await groups(node) == []
    assert (await node.http.post(f"{JOBS}/retry")).json()["remaining"] == 0


async def test_many_dead_jobs_among_more_are_found_by_their_index(node, db):
    await db.execute("""
        INSERT INTO jobs (id, tenant, model_name, input, config, max_attempts, created_at, rank_at, run_at,
                          attempt, status, started_at, finished_at, error, result)
        SELECT uuid_floor(now() + n * interval '1 ms'), 'default', 'm', '[]', '{}', 3, now(), now(),
               now(), 1, (CASE WHEN n % 100 = 0 THEN 'dead' ELSE 'succeeded' END)::job_status, now(), now(),
               CASE WHEN n % 100 = 0 THEN '{"code": "replica_died", "title": "", "detail": ""}'::json END,
               CASE WHEN n % 100 > 0 THEN '{}'::json END
        FROM generate_series(1, 30000) AS n""")
    await db.execute("ANALYZE jobs")
    (group,) = await groups(node)
    assert group["count"] == 300
    plan = [row[0] for row in await db.fetch(f"EXPLAIN {queries.DEAD_LETTERS}", DEFAULT_TENANT, 1000, 100)]
    day = await db.fetchval("SELECT tableoid::regclass::text FROM jobs LIMIT 1")  # the others are empty
    assert not [line for line in plan if f"Seq Scan on {day} " in line], plan


async def test_many_jobs_are_cancelled_in_one_call_wherever_they_are(nodes, db):
    one, two = nodes
    done = await submitted(one)
    await ended(one, done)
    with held_back(one, two):
        here, there = await submitted(one), await submitted(two)
        later = (await accepted(one, run_at=soon(1000)))["job_id"]
        job_ids = [there, done, here, UNKNOWN, later, here]
        answer = await one.http.post(CANCEL, json={"job_ids": job_ids})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    Cancels.model_validate(body)
    assert [item["job_id"] for item in body["items"]] == job_ids
    assert body["cancelled"] == 4
    codes = [item.get("status") or item["problem"]["code"] for item in body["items"]]
    assert codes == ["cancelled", "job_finished", "cancelled", "job_not_found", "cancelled", "cancelled"]
    for job_id in (here, there, later):
        assert (await ended(two, job_id))["status"] == "cancelled"
        steps = await db.fetch("SELECT status FROM events WHERE job_id = $1 ORDER BY xid, seq", UUID(job_id))
        assert [step["status"] for step in steps] == ["queued", "cancelled"]


async def test_a_thousand_jobs_are_cancelled_quickly(nodes):
    one, two = nodes
    with held_back(one, two):
        items = [job_body(number) for number in range(1000)]
        verdicts = (await two.http.post("/api/v1/inference/batch", json={"items": items})).json()["items"]
        began = time.perf_counter()
        body = (await one.http.post(CANCEL, json={"job_ids": [v["job_id"] for v in verdicts]})).json()
        assert body["cancelled"] == 1000
        assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    "body",
    [{}, [], {"job_ids": []}, {"job_ids": ["x"]}, {"job_ids": [UNKNOWN] * 1001}, {"x": 1}, {"job_ids": 1}],
)
async def test_what_is_no_list_of_jobs_is_refused(shared, body):
    check_problem(await shared.http.post(CANCEL, json=body), 422, "invalid_request")
