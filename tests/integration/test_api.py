"""The API over a real socket, on a real PostgreSQL and Redis; only Ray is left out."""

import asyncio
import json
import re
from uuid import UUID

import pytest

from satellite.access.callers import OPERATOR
from satellite.errors import ModelFailed
from satellite.jobs import JobStatus
from satellite.submission import Submission

from .conftest import serve

SUBMIT = "/api/v1/inference/submit"
PREDICT = "/api/v1/inference/predict"
RESULT = "/api/v1/inference/result"


def check_problem(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


async def test_submit_then_result(node, db, body):
    answer = await node.http.post(SUBMIT, json=body)
    assert answer.status_code == 202
    accepted = answer.json()
    assert accepted["status"] == "queued"
    assert answer.headers["location"] == accepted["links"]["result"]
    row = await db.fetchrow("SELECT * FROM jobs WHERE id = $1", UUID(accepted["job_id"]))
    assert json.loads(row["input"]) == body["data"]

    result = (await node.http.get(accepted["links"]["wait"])).json()
    assert result["status"] == "succeeded"
    assert result["result"] == {"forecast": [2.5, 2.5]}
    assert result["error"] is None
    assert result["model_version"] == "1.0.0"
    assert result["attempt"] == 1
    assert result["created_at"] == accepted["created_at"]
    assert result["created_at"] <= result["started_at"] <= result["finished_at"]

    row = await db.fetchrow("SELECT * FROM jobs WHERE id = $1", UUID(accepted["job_id"]))
    assert (row["status"], json.loads(row["result"]), row["batch_size"]) == ("succeeded", result["result"], 1)
    assert row["flush_reason"] == "timer"


async def test_the_row_is_committed_before_the_answer(node, db, body):
    node.replica.gate.clear()
    ids = [(await node.http.post(SUBMIT, json=body)).json()["job_id"] for _ in range(20)]
    found = await db.fetchval("SELECT count(*) FROM jobs WHERE id = ANY($1::uuid[])", ids)
    assert found == 20


async def test_each_job_gets_the_result_of_its_own_input(node, body):
    async def one(i):
        data = [float(i)] * 4
        job = (await node.http.post(SUBMIT, json=body | {"data": data})).json()
        result = (await node.http.get(job["links"]["wait"])).json()
        assert result["result"]["forecast"] == [i, i]

    await asyncio.gather(*(one(i) for i in range(60)))
    assert max(node.replica.sizes) <= 8
    assert sum(node.replica.sizes) == 60


async def test_a_long_job_is_running_in_the_database_too(node, db, body):
    node.replica.gate.clear()
    job_id = (await node.http.post(SUBMIT, json=body)).json()["job_id"]
    async with asyncio.timeout(10):
        while await db.fetchval("SELECT status FROM jobs WHERE id = $1", UUID(job_id)) != "running":
            await asyncio.sleep(0.02)
    result = (await node.http.get(f"{RESULT}/{job_id}")).json()
    assert result["status"] == "running"
    assert result["started_at"]


async def test_a_result_is_the_same_from_memory_cache_and_database(nodes, db, body):
    one, two = nodes
    job = (await one.http.post(SUBMIT, json=body)).json()
    path = job["links"]["result"]
    there = (await two.http.get(path, params={"wait_s": 10})).json()  # woken by Redis, read from it
    here = (await one.http.get(path)).json()  # from memory
    one.service.held.recent.clear()
    await one.service.events._redis.flushall()
    stored = (await one.http.get(path)).json()  # from PostgreSQL
    assert there == here == stored
    assert there["status"] == "succeeded"


async def test_waiting_ends_when_the_time_is_over(node, body):
    node.replica.gate.clear()
    job_id = (await node.http.post(SUBMIT, json=body)).json()["job_id"]
    result = await node.http.get(f"{RESULT}/{job_id}", params={"wait_s": 0.2})
    assert result.status_code == 200
    assert result.json()["status"] in ("queued", "running")


async def test_predict_answers_at_once_and_stores_nothing(node, db, body):
    result = (await node.http.post(PREDICT, json=body)).json()
    assert result["status"] == "succeeded"
    assert result["result"] == {"forecast": [2.5, 2.5]}
    assert result["job_id"] is None
    assert await db.fetchval("SELECT count(*) FROM jobs") == 0


async def test_a_stored_predict_is_a_job(node, db, body):
    result = (await node.http.post(PREDICT, json=body | {"store": True})).json()
    assert result["status"] == "succeeded"
    assert await db.fetchval("SELECT flush_reason FROM jobs WHERE id = $1", UUID(result["job_id"])) == "flush"


async def test_a_stored_predict_that_takes_too_long_answers_202(node, body):
    node.replica.gate.clear()
    answer = await node.http.post(PREDICT, json=body | {"store": True, "wait_s": 0.1})
    assert answer.status_code == 202
    node.replica.gate.set()
    result = await node.http.get(answer.json()["links"]["wait"])
    assert result.json()["status"] == "succeeded"


async def test_a_predict_that_takes_too_long_says_so(node, body):
    node.replica.gate.clear()
    answer = await node.http.post(PREDICT, json=body | {"wait_s": 0.1})
    check_problem(answer, 504, "wait_timeout")


async def test_a_failed_job_says_why(node, body):
    node.replica.failure = ModelFailed("the model raised ValueError")
    job = (await node.http.post(SUBMIT, json=body)).json()
    result = (await node.http.get(job["links"]["wait"])).json()
    assert result["status"] == "failed"
    assert result["result"] is None
    assert result["error"] == {
        "code": "model_failed",
        "title": "The model raised an error",
        "detail": "the model raised ValueError",
    }


async def test_a_caller_who_hangs_up_during_the_commit_leaves_a_job_that_runs(node, db, body, monkeypatch):
    insert, reached, gate = node.service.store._insert, asyncio.Event(), asyncio.Event()

    async def held(jobs):
        reached.set()
        await gate.wait()
        return await insert(jobs)

    monkeypatch.setattr(node.service.store._inserts, "_write", held)
    # As Serve does it: it cancels the handler of a request whose client has gone.
    call = asyncio.create_task(node.service.submit(Submission(**body), OPERATOR))
    await reached.wait()
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    gate.set()
    async with asyncio.timeout(10):
        while await db.fetchval("SELECT count(*) FROM jobs WHERE status = 'succeeded'") != 1:
            await asyncio.sleep(0.02)


BAD_BODIES = {
    "broken JSON": (b'{"model_name": ', 400, "invalid_json"),
    "empty": (b"", 400, "invalid_json"),
    "not UTF-8": (b'{"model_name": "\xff"}', 400, "invalid_json"),
    "NaN": (b'{"model_name":"moving_average","data":[1,2,3,NaN]}', 400, "invalid_json"),
    "Infinity": (b'{"model_name":"moving_average","data":[1,2,3,-Infinity]}', 400, "invalid_json"),
    "1e999": (b'{"model_name":"moving_average","data":[1,2,3,1e999]}', 400, "invalid_json"),
    "1e300": (b'{"model_name":"moving_average","data":[1,2,3,1e300]}', 422, "invalid_request"),
    "400 digits": (
        b'{"model_name":"moving_average","data":[1,2,3,' + b"9" * 400 + b"]}",
        400,
        "invalid_json",
    ),
    "deep nesting": (b"[" * 100_000, 400, "invalid_json"),
    "deep data": (
        b'{"model_name":"moving_average","data":' + b"[" * 500 + b"]" * 500 + b"}",
        422,
        "invalid_request",
    ),
    "an array": (b"[]", 422, "invalid_request"),
    "no data": (b'{"model_name":"moving_average"}', 422, "invalid_request"),
    "empty data": (b'{"model_name":"moving_average","data":[]}', 422, "invalid_request"),
    "too short": (b'{"model_name":"moving_average","data":[1,2,3]}', 422, "invalid_request"),
    "too long": (
        b'{"model_name":"moving_average","data":[' + b"1," * 4096 + b"1]}",
        422,
        "invalid_request",
    ),
    "text for numbers": (b'{"model_name":"moving_average","data":["1","2","3","4"]}', 422, "invalid_request"),
    "unknown model": (b'{"model_name":"moving_avg","data":[1,2,3,4]}', 404, "model_not_found"),
    "unknown key": (b'{"model_name":"moving_average","data":[1,2,3,4],"x":1}', 422, "invalid_request"),
    "unknown config key": (
        b'{"model_name":"moving_average","data":[1,2,3,4],"config":{"steps":1}}',
        422,
        "invalid_request",
    ),
    "NUL in a name": (b'{"model_name":"a\\u0000b","data":[1,2,3,4]}', 404, "model_not_found"),
    "a lone surrogate": (b'{"model_name":"\\ud800","data":[1,2,3,4]}', 400, "invalid_json"),
}


@pytest.mark.parametrize("path", [SUBMIT, PREDICT])
@pytest.mark.parametrize("case", BAD_BODIES)
async def test_bad_input_is_a_clear_error_and_reaches_no_model(node, db, path, case):
    content, status, code = BAD_BODIES[case]
    answer = await node.http.post(path, content=content, headers={"Content-Type": "application/json"})
    check_problem(answer, status, code)
    assert node.replica.sizes == []
    assert await db.fetchval("SELECT count(*) FROM jobs") == 0


async def test_an_unknown_model_names_the_nearest(node, body):
    answer = await node.http.post(SUBMIT, json=body | {"model_name": "moving_averag"})
    assert "did you mean 'moving_average'?" in check_problem(answer, 404, "model_not_found")["detail"]


async def test_another_content_type_is_refused(node):
    check_problem(await node.http.post(SUBMIT, data={"a": "b"}), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        (b"Content-Length: 10485760", b""),  # announced: refused without one byte of it
        (b"Transfer-Encoding: chunked", (b"100000\r\n" + b" " * 0x100000 + b"\r\n") * 5),  # and never ended
    ],
)
async def test_a_large_body_is_refused_before_it_is_read_whole(node, header, sent):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(node.url.rsplit(":", 1)[1]))
    writer.write(
        b"POST /api/v1/inference/submit HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + header
        + b"\r\n\r\n"
        + sent
    )
    async with asyncio.timeout(5):
        assert b" 413 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize("job_id", ["x", "123", "0193f3a2-6c1e-7b52-9d5e", "' OR 1=1"])
async def test_a_malformed_id(node, job_id):
    check_problem(await node.http.get(f"{RESULT}/{job_id}"), 422, "invalid_request")


async def test_an_unknown_id(node):
    check_problem(await node.http.get(f"{RESULT}/0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d"), 404, "job_not_found")


@pytest.mark.parametrize("wait_s", ["-1", "nan", "inf", "abc", "1e9"])
async def test_a_malformed_wait(node, body, wait_s):
    job_id = (await node.http.post(SUBMIT, json=body)).json()["job_id"]
    answer = await node.http.get(f"{RESULT}/{job_id}", params={"wait_s": wait_s})
    check_problem(answer, 422, "invalid_request")


async def test_unknown_path_and_wrong_method(node):
    check_problem(await node.http.get("/api/v1/nothing"), 404, "not_found")
    answer = await node.http.get(SUBMIT)
    check_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_an_unforeseen_error_keeps_its_secrets(node, body, monkeypatch):
    async def submit(*args, **kwargs):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(node.service, "submit", submit)
    answer = await node.http.post(SUBMIT, json=body)
    problem = check_problem(answer, 500, "internal_error")
    assert "hunter2" not in answer.text
    assert problem["request_id"] in problem["detail"]


async def test_a_request_id_is_taken_over_or_made(node):
    assert (await node.http.get("/health/live", headers={"X-Request-ID": "abc-1"})).headers[
        "x-request-id"
    ] == "abc-1"
    made = (await node.http.get("/health/live", headers={"X-Request-ID": "a b\tc"})).headers["x-request-id"]
    assert made and made != "a b\tc"


async def test_a_key_of_a_deleted_job_touches_no_other_item_of_its_batch(node, body):
    answer = await node.http.post("/api/v1/inference/submit", json=body, headers={"Idempotency-Key": "used"})
    deleted = answer.json()["job_id"]
    await node.http.get(f"/api/v1/inference/result/{deleted}?wait_s=5")
    assert (await node.http.delete(f"/api/v1/jobs/{deleted}")).status_code == 204
    items = [body, {**body, "idempotency_key": "used"}, body]
    answer = await node.http.post("/api/v1/inference/batch", json={"items": items})
    first, second, third = answer.json()["items"]
    assert (second["status_code"], second["problem"]["code"]) == (409, "idempotency_conflict")
    for item in (first, third):
        job = await node.http.get(f"/api/v1/inference/result/{item['job_id']}?wait_s=5")
        assert job.json()["status"] == "succeeded"


async def test_a_full_queue_answers_429(database_url, redis, body):
    async with serve(database_url, redis.url, max_queued=3) as node:
        node.replica.gate.clear()
        answers = [await node.http.post(PREDICT, json=body | {"wait_s": 0}) for _ in range(2)]
        assert {a.status_code for a in answers} == {504}
        accepted = [(await node.http.post(SUBMIT, json=body)).status_code for _ in range(6)]
        assert accepted[-1] == 429
        refused = await node.http.post(SUBMIT, json=body)
        check_problem(refused, 429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1


async def test_models(node, body):
    models = (await node.http.get("/api/v1/models")).json()["models"]
    assert [m["name"] for m in models] == ["moving_average"]
    model = (await node.http.get("/api/v1/models/moving_average")).json()
    assert model == models[0]
    assert model["state"] == "HEALTHY"
    assert model["replicas"] == {"RUNNING": 1}
    assert model["batching"]["max_batch_size"] == 8
    assert set(model["config_schema"]["properties"]) == {"forecast_steps", "window"}
    example = await node.http.post(PREDICT, json=model["example"])
    assert example.json()["status"] == "succeeded"
    check_problem(await node.http.get("/api/v1/models/nothing"), 404, "model_not_found")


async def test_health_names_every_part(node):
    health = await node.http.get("/health")
    assert health.status_code == 200
    body = health.json()
    assert body["state"] == "ok"
    assert body["accepting"] is True
    assert set(body["parts"]) == {"postgres", "redis", "model:moving_average"}
    assert body["parts"]["postgres"]["latency_ms"] > 0
    assert (await node.http.get("/health/live")).json() == {"state": "ok"}
    assert (await node.http.get("/health/ready")).status_code == 200


async def test_openapi_describes_every_model_and_error(node):
    schema = (await node.http.get("/openapi.json")).json()
    submit = schema["paths"][SUBMIT]["post"]
    assert {"202", "400", "404", "413", "415", "422", "429", "503"} <= set(submit["responses"])
    content = submit["requestBody"]["content"]["application/json"]
    assert content["examples"]["moving_average"]["value"]["model_name"] == "moving_average"
    components = schema["components"]["schemas"]
    assert components["moving_average.Config"]["properties"]["window"]["minimum"] == 1

    def refs(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            for item in value.values():
                yield from refs(item)
        elif isinstance(value, list):
            for item in value:
                yield from refs(item)

    for ref in refs(schema):
        assert ref.removeprefix("#/components/schemas/") in components, ref
    page = (await node.http.get("/docs")).text
    assert "https://" not in page  # it needs nothing from elsewhere
    for asset in re.findall(r'(?:href|src)="([^"]+)"', page):
        assert (await node.http.get(asset)).status_code == 200, asset
    for example in content["examples"].values():
        assert (await node.http.post(PREDICT, json=example["value"])).status_code == 200


async def test_the_status_enum_is_documented_whole():
    from typing import get_args

    from satellite.api.schemas import Status

    assert set(get_args(Status)) == set(JobStatus)
