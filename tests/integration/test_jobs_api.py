"""What callers do with jobs: submit once, many at a time, list, look at, delete."""

import asyncio
import json
from datetime import datetime, timedelta

import orjson
import pytest

from satellite.access.callers import OPERATOR
from satellite.errors import IdempotencyConflict
from satellite.submission import Submission

from .conftest import MODEL, serve
from .helpers import (
    BATCH,
    JOBS,
    UNKNOWN,
    accepted,
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
from .test_api import PREDICT, RESULT, SUBMIT, check_problem

# The same request, sent again


async def test_the_same_key_and_body_is_the_same_job_wherever_it_is_sent(nodes, db):
    one, two = nodes
    first = await one.http.post(SUBMIT, json=job_body(), headers={"Idempotency-Key": "k"})
    assert "idempotent-replayed" not in first.headers
    # As another program writes the same JSON.
    text = json.dumps(dict(reversed(job_body().items())), indent=2)
    for node in (one, two):
        again = await node.http.post(
            SUBMIT, content=text, headers={"Idempotency-Key": "k", "Content-Type": "application/json"}
        )
        assert again.status_code == 202
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json()["job_id"] == first.json()["job_id"]
    await ended(one, first.json()["job_id"])
    later = await two.http.post(SUBMIT, json=job_body(), headers={"Idempotency-Key": "k"})
    assert (later.json()["job_id"], later.json()["status"]) == (first.json()["job_id"], "succeeded")
    assert await db.fetchval("SELECT count(*) FROM jobs") == 1
    assert sum(one.replica.sizes) + sum(two.replica.sizes) == 1


async def test_the_order_of_keys_inside_data_and_config_does_not_matter(node):
    config = {"forecast_steps": 2, "window": 3}
    first = await submitted(node, config=config, key="k", labels={"a": "1", "b": "2"})
    config = {"window": 3, "forecast_steps": 2}
    assert await submitted(node, config=config, key="k", labels={"b": "2", "a": "1"}) == first


@pytest.mark.parametrize(
    "change",
    [
        {"data": series(2)},
        {"config": {}},
        {"priority": 9},
        {"deadline_s": 9},
        {"labels": {"a": "b"}},
        {"max_attempts": 1},
        {"run_at": "2030-01-01T00:00:00Z"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_the_same_key_with_another_body_is_refused(shared, change):
    node = shared
    key = f"k-{next(iter(change))}"
    if "run_at" in change:
        change = {"run_at": soon(3600)}
    job_id = await submitted(node, key=key)
    answer = await node.http.post(SUBMIT, json=job_body() | change, headers={"Idempotency-Key": key})
    assert job_id in check_problem(answer, 409, "idempotency_conflict")["detail"]


async def test_many_at_once_on_two_ingresses_make_one_job(nodes, db):
    async def send(node):
        answer = await node.http.post(SUBMIT, json=job_body(), headers={"Idempotency-Key": "k"})
        return answer.json()["job_id"], "idempotent-replayed" in answer.headers

    answers = await asyncio.gather(*(send(nodes[n % 2]) for n in range(40)))
    assert len({job_id for job_id, _ in answers}) == 1
    assert sum(not replayed for _, replayed in answers) == 1
    await ended(nodes[0], answers[0][0])
    assert await db.fetchval("SELECT count(*) FROM jobs") == 1
    assert sum(nodes[0].replica.sizes) + sum(nodes[1].replica.sizes) == 1


async def test_one_key_several_times_in_one_group_commit_is_one_job(node, db):
    def asked(number, key):
        return Submission(**job_body(number), idempotency_key=key)

    answers = await asyncio.gather(
        *(
            node.service.submit(asked(n, key), OPERATOR)
            for n, key in [(0, None), (1, "k"), (1, "k"), (2, "k"), (3, "l")]
        ),
        return_exceptions=True,
    )
    assert await db.fetchval("SELECT count(DISTINCT xmin::text) FROM jobs") == 1
    _, first, same, other, another = answers
    assert same.job.job_id == first.job.job_id
    assert (first.replayed, same.replayed) == (False, True)
    assert isinstance(other, IdempotencyConflict)
    assert another.job.job_id != first.job.job_id
    assert await db.fetchval("SELECT count(*) FROM jobs") == 3


async def test_a_key_whose_job_was_deleted_is_refused(node):
    job_id = await submitted(node, key="k")
    await ended(node, job_id)
    assert (await node.http.delete(f"{JOBS}/{job_id}")).status_code == 204
    answer = await node.http.post(SUBMIT, json=job_body(), headers={"Idempotency-Key": "k"})
    check_problem(answer, 409, "idempotency_conflict")


async def test_a_stored_predict_with_a_key_is_computed_once(node):
    send = {"json": job_body(store=True), "headers": {"Idempotency-Key": "k"}}
    first, again = [(await node.http.post(PREDICT, **send)).json() for _ in range(2)]
    assert first == again
    assert sum(node.replica.sizes) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, b"\xff"], ids=repr)
async def test_a_malformed_key_is_refused(shared, key):
    answer = await shared.http.post(SUBMIT, json=job_body(), headers={"Idempotency-Key": key})
    check_problem(answer, 422, "invalid_request")


# Many at a time


async def test_a_batch_has_a_verdict_for_each_item_in_order(node, db):
    items = [
        job_body(0),
        job_body(1, priority=10),
        job_body(2, data=[1.0]),
        job_body(3, model_name="nothing"),
        "no object",
        job_body(5, config={"steps": 1}),
        job_body(6, labels={"n": "6"}),
        job_body(7, store=True),
    ]
    answer = await node.http.post(BATCH, json={"items": items})
    assert answer.status_code == 207
    body = answer.json()
    assert (body["accepted"], body["rejected"]) == (2, 6)
    verdicts = body["items"]
    assert [v["index"] for v in verdicts] == list(range(8))
    assert [v["status_code"] for v in verdicts] == [202, 422, 422, 404, 422, 422, 202, 422]
    pointers = {v["index"]: v["problem"]["errors"][0]["pointer"] for v in verdicts if v["status_code"] == 422}
    assert pointers == {
        1: "/items/1/priority",
        2: "/items/2/data",
        4: "/items/4",
        5: "/items/5/config/steps",
        7: "/items/7/store",
    }
    for index in (0, 6):
        result = await ended(node, verdicts[index]["job_id"])
        assert result["result"]["forecast"] == [index]
    assert await db.fetchval("SELECT count(*) FROM jobs") == 2
    assert (await shown(node, verdicts[6]["job_id"]))["labels"] == {"n": "6"}


async def test_a_batch_has_no_key_of_its_own(shared):
    answer = await shared.http.post(
        BATCH, json={"items": [job_body(1)]}, headers={"Idempotency-Key": "one-for-all"}
    )
    check_problem(answer, 422, "invalid_request")
    assert answer.json()["errors"][0]["pointer"] == "/headers/idempotency-key"


async def test_a_batch_of_1000_is_one_transaction_and_1001_are_refused(node, db):
    items = [job_body(n) for n in range(1000)]
    with held_back(node):
        answer = (await node.http.post(BATCH, json={"items": items})).json()
        assert answer["accepted"] == 1000
        assert [v["queue_position"] for v in answer["items"]] == list(range(1000))
        assert await db.fetchval("SELECT count(*) FROM jobs") == 1000
        assert await db.fetchval("SELECT count(DISTINCT xmin::text) FROM jobs") == 1
        stored = {str(r["id"]): json.loads(r["input"]) for r in await db.fetch("SELECT id, input FROM jobs")}
        assert [stored[v["job_id"]][0] for v in answer["items"]] == list(range(1000))
        queue_of(node).clear_jobs()
    for wrong in ([*items, job_body()], [], {}, None):
        answer = await node.http.post(BATCH, json={"items": wrong})
        assert check_problem(answer, 422, "invalid_request")["errors"][0]["pointer"] == "/items"
    check_problem(await node.http.post(BATCH, json={}), 422, "invalid_request")


async def test_keys_in_items_work_within_a_batch_and_across_batches(node, db):
    items = [job_body(1, idempotency_key="a"), job_body(2, idempotency_key="b")]
    first = (await node.http.post(BATCH, json={"items": items})).json()["items"]
    items += [job_body(1, idempotency_key="a"), job_body(9, idempotency_key="b"), job_body(3)]
    verdicts = (await node.http.post(BATCH, json={"items": items})).json()["items"]
    assert [v["status_code"] for v in verdicts] == [202, 202, 202, 409, 202]
    assert [v.get("replayed") for v in verdicts] == [True, True, True, None, False]
    assert [v["job_id"] for v in verdicts[:3]] == [first[0]["job_id"], first[1]["job_id"], first[0]["job_id"]]
    assert verdicts[3]["problem"]["code"] == "idempotency_conflict"
    assert await db.fetchval("SELECT count(*) FROM jobs") == 3
    # The same key as the header's: one request, one name.
    assert await submitted(node, 1, key="a") == first[0]["job_id"]


async def test_of_two_requests_with_one_key_in_a_batch_the_first_is_taken(node):
    items = [job_body(n, idempotency_key=f"k{n % 200}") for n in range(600)]
    with held_back(node):
        verdicts = (await node.http.post(BATCH, json={"items": items})).json()["items"]
        queue_of(node).clear_jobs()
    assert [v["status_code"] for v in verdicts] == [202] * 200 + [409] * 400


async def test_the_limit_of_the_queue_holds_inside_a_batch(database_url, redis):
    async with serve(database_url, redis.url, max_queued=5) as node:
        with held_back(node):
            answer = await node.http.post(BATCH, json={"items": [job_body(n) for n in range(8)]})
            codes = [v["status_code"] for v in answer.json()["items"]]
            assert codes == [202] * 5 + [429] * 3
            assert answer.json()["items"][5]["problem"]["retry_after_s"] >= 1


# Lists


async def test_a_job_tells_how_large_its_batch_was(node):
    with held_back(node):
        ids = [await submitted(node, number) for number in range(3)]
        waits = await shown(node, ids[0])
    for id_ in ids:
        await ended(node, id_)
    listed = (await node.http.get(JOBS)).json()["jobs"]
    sizes = [job["batch_size"] for job in [waits, await shown(node, ids[0]), *listed]]
    assert sizes == [None, 3, 3, 3, 3]


async def test_a_list_shows_what_its_filters_ask_for(node):
    with held_back(node):
        a = await submitted(node, 1, labels={"site": "a", "kind": "x"}, priority=9)
        b = await submitted(node, 2, labels={"site": "b", "kind": "x"})
        await asyncio.sleep(0.002)
        c = await accepted(node, 3)
        await asyncio.sleep(0.002)
        d = await submitted(node, 4, labels={"site": "a"})
        for job_id in (a, b):
            assert (await node.http.post(f"{JOBS}/{job_id}/cancel")).status_code == 200
    await ended(node, d)
    e = (await node.http.post(f"{JOBS}/{a}/retry")).json()["job_id"]  # labels and all
    await ended(node, e)
    await ended(node, c["job_id"])

    async def found(**filters):
        answer = await node.http.get(JOBS, params=filters)
        assert answer.status_code == 200, answer.text
        jobs = answer.json()["jobs"]
        assert answer.json()["next_cursor"] is None
        assert not any("data" in job or "result" in job for job in jobs)
        return [job["job_id"] for job in jobs]

    c_id, c_at = c["job_id"], c["created_at"]
    assert await found() == [e, d, c_id, b, a]
    assert await found(model_name=MODEL) == [e, d, c_id, b, a]
    assert await found(model_name="nothing") == []
    assert await found(status="cancelled") == [b, a]
    assert await found(status=["succeeded", "cancelled"]) == [e, d, c_id, b, a]
    assert await found(status="dead") == []
    assert await found(label="site=a") == [e, d, a]
    assert await found(label=["site=a", "kind=x"]) == [e, a]
    assert await found(label="site=") == []
    assert await found(created_after=c_at) == [e, d, c_id]
    assert await found(created_before=c_at) == [b, a]
    assert await found(created_after=c_at, status="succeeded", label="site=a") == [e, d]
    assert await found(parent_id=a) == [e]
    assert await found(parent_id=b) == []
    job = (await node.http.get(JOBS, params={"parent_id": a})).json()["jobs"][0]
    assert (job["priority"], job["labels"], job["parent_id"]) == (9, {"site": "a", "kind": "x"}, a)


async def test_a_cursor_walks_everything_once_while_jobs_are_inserted(node):
    with held_back(node):
        before = [await submitted(node, n) for n in range(25)]
        seen, cursor = [], None
        while True:
            params = {"limit": 4, **({"cursor": cursor} if cursor else {})}
            page = (await node.http.get(JOBS, params=params)).json()
            assert len(page["jobs"]) <= 4
            seen += [job["job_id"] for job in page["jobs"]]
            await submitted(node, 99)  # new ones are newer than any cursor
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == before[::-1]


async def test_malformed_filters_are_refused(node):
    wrong = [
        {"status": "done"},
        {"status": ["queued", "x"]},
        {"label": "no-equals"},
        {"label": "=x"},
        {"label": "a=\x00"},
        {"label": "a=" + "x" * 256},
        {"created_after": "yesterday"},
        {"created_after": "2026-01-05T12:00:00"},  # no zone
        {"created_before": "2026-13-05T12:00:00Z"},
        {"parent_id": "x"},
        {"cursor": "x"},
        {"limit": 0},
        {"limit": 501},
        {"limit": "many"},
    ]
    for params in wrong:
        answer = await node.http.get(JOBS, params=params)
        problem = check_problem(answer, 422, "invalid_request")
        assert next(iter(params)) in problem["errors"][0]["pointer"], params


# One job


async def test_a_job_shows_everything_that_was_asked_and_its_input_as_it_was(node, db):
    data = [0.1, 1e22, -0.0, 5e-324, 123456789.123456789, 1, 1.0]
    deadline_s = 3600
    job = await accepted(
        node, data=data, priority=7, labels={"b": "=", "a": "ü"}, max_attempts=5, deadline_s=deadline_s
    )
    await ended(node, job["job_id"])
    assert job["links"]["job"] == f"{JOBS}/{job['job_id']}"
    answer = await node.http.get(job["links"]["job"])
    stored = await row_of(db, job["job_id"])
    assert stored["input"].encode() == orjson.dumps(data)
    assert b'"data":' + stored["input"].encode() + b"," in answer.content
    assert b'"result":' + stored["result"].encode() + b"," in answer.content
    body = answer.json()
    assert list(map(repr, body["data"])) == list(map(repr, data))
    assert body["config"] == {"forecast_steps": 1, "window": 8}  # with the defaults that were used
    assert (body["status"], body["priority"], body["labels"]) == ("succeeded", 7, {"a": "ü", "b": "="})
    assert (body["attempt"], body["max_attempts"], body["attempts"]) == (1, 5, [])
    created_at, deadline_at = (datetime.fromisoformat(body[k]) for k in ("created_at", "deadline_at"))
    assert deadline_at - created_at == timedelta(seconds=deadline_s)
    assert body["queue_position"] is None
    assert (body["parent_id"], body["error"], body["cancel_requested"]) == (None, None, False)


async def test_unknown_and_malformed_ids(node):
    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/explain"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
    ]:
        check_problem(await node.http.request(method, f"{JOBS}/{UNKNOWN}{path}"), 404, "job_not_found")
        check_problem(await node.http.request(method, f"{JOBS}/x{path}"), 422, "invalid_request")


# Away with it


async def test_a_deleted_job_is_gone_from_result_cache_and_memory_everywhere(nodes, db):
    one, two = nodes
    ids = [await submitted(one, n) for n in range(2)]
    for job_id in ids:
        assert await ended(one, job_id) == await ended(two, job_id)
    assert len(one.service.held.recent) == 2
    for node, job_id in zip(nodes, ids, strict=True):
        answer = await node.http.delete(f"{JOBS}/{job_id}")
        assert (answer.status_code, answer.content) == (204, b"")
        check_problem(await node.http.delete(f"{JOBS}/{job_id}"), 404, "job_not_found")
    await eventually(lambda: not one.service.held.recent)
    for node in nodes:
        for job_id in ids:
            check_problem(await node.http.get(f"{RESULT}/{job_id}"), 404, "job_not_found")
            check_problem(await node.http.get(f"{JOBS}/{job_id}"), 404, "job_not_found")
        assert (await node.http.get(JOBS)).json()["jobs"] == []
    assert await db.fetchval("SELECT count(*) FROM jobs") == 0
