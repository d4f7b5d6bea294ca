"""Whatever a client sends: never a 500, always a problem that names what is wrong."""

import json
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from .conftest import MODEL
from .helpers import BATCH, EVENTS, JOBS, UNKNOWN, ended, submitted
from .test_api import PREDICT, SUBMIT

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from("abc"), inner, max_size=4),
    max_leaves=12,
)
TIMES = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | st.sampled_from(
    ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-05T12:00:00"]
)
SERIES = st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=6)
MORE_FIELDS = {
    "config": st.fixed_dictionaries({}, optional={"forecast_steps": st.integers(-1, 600), "window": JSON})
    | JSON,
    "model_version": st.just("1.0.0") | TEXT | JSON,
    "priority": st.integers(-1, 10) | JSON,
    "deadline_s": st.floats(-1, 1e9) | JSON,
    "run_at": TIMES | JSON,
    "labels": st.dictionaries(TEXT, TEXT | JSON, max_size=3) | JSON,
    "max_attempts": st.integers(-1, 21) | JSON,
}
JOB_FIELDS = {"data": SERIES | JSON, **MORE_FIELDS}
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "model_name": st.just(MODEL) | JSON,
        **JOB_FIELDS,
        "store": JSON,
        "wait_s": st.floats(-1, 1) | JSON,
        "other": JSON,
    },
)
# Valid but for one field, mostly: these reach the database.
NEARLY = st.fixed_dictionaries(
    {"model_name": st.just(MODEL), "data": st.just([1.0, 2.0, 3.0, 4.0])},
    optional={"idempotency_key": TEXT | st.sampled_from(["a", "b"]), **MORE_FIELDS},
)
REPLAYS = st.fixed_dictionaries(
    {},
    optional={
        "job_ids": st.lists(st.uuids().map(str) | JSON, max_size=3) | JSON,
        "model_name": TEXT | JSON,
        "error_code": TEXT | JSON,
        "limit": st.integers(-1, 1001) | JSON,
    },
)
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "model_name": TEXT,
        "status": st.lists(st.sampled_from(["queued", "dead", "x"]) | TEXT, max_size=3),
        "label": st.lists(st.sampled_from(["a=b", "a="]) | TEXT, max_size=3),
        "created_after": TIMES | TEXT,
        "created_before": TIMES | TEXT,
        "parent_id": st.uuids().map(str) | TEXT,
        "limit": st.integers() | TEXT,
        "cursor": st.uuids().map(str) | TEXT,
        "other": TEXT,
    },
)
EVENT_IDS = TEXT | st.from_regex(r"\d{1,30}[-.]\d{1,30}", fullmatch=True)
BOUNDED = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MODELS = f"/api/v1/models/{MODEL}"
HEADERS = {"Content-Type": "application/json"}


def check(answer, *more):
    if answer.status_code >= 400:
        problem = answer.json()
        assert answer.status_code in (400, 404, 422, 504, *more), problem
        assert problem["code"] and problem["detail"]
        assert answer.headers["content-type"] == "application/problem+json"
    return answer


def dumped(body):
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body).encode()  # an integer beyond 64 bits, say


async def post(node, path, body, *more):
    content = body if isinstance(body, bytes) else dumped(body)
    return check(await node.http.post(path, content=content, headers=HEADERS), *more)


@pytest.fixture(scope="module")
async def job_id(shared):
    """A job that has ended."""
    job_id = await submitted(shared)
    await ended(shared, job_id)
    return job_id


@BOUNDED
@given(body=JSON | BODIES | NEARLY, path=st.sampled_from([SUBMIT, PREDICT]))
async def test_any_json(shared, body, path):
    await post(shared, path, body)


@BOUNDED
@given(content=st.binary(max_size=200), path=st.sampled_from([SUBMIT, PREDICT, BATCH, f"{JOBS}/retry"]))
async def test_any_bytes(shared, content, path):
    await post(shared, path, content)


@BOUNDED
@given(items=st.lists(NEARLY | BODIES | JSON, max_size=6) | JSON)
async def test_any_batch(shared, items):
    answer = await post(shared, BATCH, {"items": items})
    if answer.status_code == 207:
        verdicts = answer.json()["items"]
        assert [v["index"] for v in verdicts] == list(range(len(items)))
        assert {v["status_code"] for v in verdicts} <= {202, 404, 409, 422}


@BOUNDED
@given(edits=st.fixed_dictionaries({}, optional=JOB_FIELDS) | JSON)
async def test_any_retry(shared, job_id, edits):
    await post(shared, f"{JOBS}/{job_id}/retry", edits)


@BOUNDED
@given(body=REPLAYS | JSON)
@example(body={"model_name": "\0"})
@example(body={"error_code": "\0"})
async def test_any_replay(shared, body):
    await post(shared, f"{JOBS}/retry", body)


@BOUNDED
@given(
    body=st.fixed_dictionaries({}, optional={"version": TEXT | JSON, "rollback": st.just(True) | JSON})
    | JSON,
    version=TEXT,
    method=st.sampled_from(["POST", "DELETE"]),
)
@example(body={}, version="\0", method="POST")
async def test_any_version(shared, body, version, method):
    await post(shared, f"{MODELS}/default", body, 409)
    if version not in ("", ".", ".."):
        path = f"{MODELS}/versions/{quote(version, safe='')}/load"
        check(await shared.http.request(method, path), 405)


@BOUNDED
@given(query=QUERIES)
@example(query={"model_name": "\0"})
async def test_any_list(shared, query):
    check(await shared.http.get(JOBS, params=query))


@BOUNDED
@given(query=st.fixed_dictionaries({"last_event_id": EVENT_IDS}), of_job=st.booleans(), model_name=TEXT)
@example(query={"last_event_id": "999999999999999999-999999999999999999"}, of_job=False, model_name=MODEL)
async def test_any_event_id(shared, job_id, query, of_job, model_name):
    query |= {"job_id": job_id} if of_job else {"model_name": model_name}
    async with shared.http.stream("GET", EVENTS, params=query) as answer:
        if answer.status_code != 200:
            await answer.aread()
        check(answer)


@BOUNDED
@given(
    key=st.binary(max_size=40) | st.binary(min_size=1, max_size=3),
    path=st.sampled_from([SUBMIT, PREDICT, "retry"]),
)
async def test_any_key(shared, job_id, key, path):
    key = key.translate(None, bytes(range(32)) + b"\x7f").strip()  # what HTTP itself forbids
    path = f"{JOBS}/{job_id}/retry" if path == "retry" else path
    body = {} if "retry" in path else {"model_name": MODEL, "data": [1.0] * 4}
    answer = await shared.http.post(path, json=body, headers={"Idempotency-Key": key})
    check(answer, 409)


@BOUNDED
@given(
    id_=TEXT | st.uuids().map(str), method=st.sampled_from(["GET", "DELETE", "cancel", "retry", "explain"])
)
async def test_any_id(shared, id_, method):
    path = f"{JOBS}/{quote(id_, safe='')}" if id_ not in ("", ".", "..") else f"{JOBS}/{UNKNOWN}"
    verb = {"cancel": "POST", "retry": "POST", "explain": "GET"}.get(method, method)
    check(await shared.http.request(verb, path if method == verb else f"{path}/{method}"), 405)


async def test_after_all_that_jobs_are_computed_as_ever(shared):
    assert (await ended(shared, await submitted(shared)))["status"] == "succeeded"
