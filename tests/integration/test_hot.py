"""The hot routes answer as FastAPI's do, and look after callers who hang up."""

import asyncio
import contextlib

import httpx
import orjson
import pytest
from ray.serve._private.thirdparty.get_asgi_route_name import get_asgi_route_name

from satellite.api.app import Application
from satellite.api.guard import Guard
from satellite.api.middleware import RequestMiddleware
from satellite.tensors import pack

from .helpers import UNKNOWN, accepted, ended, eventually, job_body, series, waiting
from .test_api import PREDICT, RESULT, SUBMIT

JSON = {"Content-Type": "application/json"}
VARIES = {
    "request_id",
    "job_id",
    "created_at",
    "started_at",
    "finished_at",
    "queue_position",
    "eta_s",
    "links",
}


@pytest.fixture
def app(node):
    return Application(node.context)


def without(app):
    context = app.fastapi.state.context
    return RequestMiddleware(Guard(app.fastapi, context.access, ()), metrics=context.service.metrics)


def client(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


async def ask(app, method, path, content=None, headers=JSON):
    async with client(app) as http:
        answer = await http.request(method, path, content=content, headers=headers)
    body = answer.json()
    fields = sorted(set(answer.headers) - {"x-request-id", "location"})
    return answer.status_code, fields, {key: body[key] for key in body if key not in VARIES}, sorted(body)


GOOD = orjson.dumps(job_body())
REQUESTS = {
    "submit": ("POST", SUBMIT, GOOD),
    "predict": ("POST", PREDICT, GOOD),
    "no JSON": ("POST", SUBMIT, b"{"),
    "unknown model": ("POST", PREDICT, orjson.dumps(job_body() | {"model_name": "nope"})),
    "bad data": ("POST", SUBMIT, orjson.dumps(job_body() | {"data": ["x"]})),
    "another content type": ("POST", SUBMIT, GOOD, {"Content-Type": "text/plain"}),
    "bad key": ("POST", SUBMIT, GOOD, JSON | {"Idempotency-Key": "a b"}),
    "unknown job": ("GET", f"{RESULT}/{UNKNOWN}"),
    "malformed job": ("GET", f"{RESULT}/nope"),
    "id in another spelling": ("GET", f"{RESULT}/{UNKNOWN.replace('-', '')}"),
    "malformed wait": ("GET", f"{RESULT}/{UNKNOWN}?wait_s=x"),
    "wait not a number": ("GET", f"{RESULT}/{UNKNOWN}?wait_s=nan"),
    "too long a wait": ("GET", f"{RESULT}/{UNKNOWN}?wait_s=1e9"),
    "negative wait": ("GET", f"{RESULT}/{UNKNOWN}?wait_s=-1"),
    "two waits": ("GET", f"{RESULT}/{UNKNOWN}?wait_s=0&wait_s=1"),
    "another parameter": ("GET", f"{RESULT}/{UNKNOWN}?x=1"),
    "a query that is none": ("GET", f"{RESULT}/{UNKNOWN}?%ff"),
    "another method": ("GET", SUBMIT),
    "another method, too": ("DELETE", f"{RESULT}/{UNKNOWN}"),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
async def test_the_answer_is_the_same_with_and_without(app, request_):
    assert await ask(app, *request_) == await ask(without(app), *request_)


async def test_a_result_is_the_same_with_and_without(node, app):
    job_id = (await accepted(node))["job_id"]
    await ended(node, job_id)
    for query in ("", "?wait_s=1"):
        async with client(app) as hot, client(without(app)) as plain:
            path = f"{RESULT}/{job_id}{query}"
            assert (await hot.get(path)).content == (await plain.get(path)).content


async def test_the_hot_routes_are_really_taken(app, monkeypatch):
    async def fail(*_):
        raise AssertionError("FastAPI was asked")

    monkeypatch.setattr(type(app.fastapi), "__call__", fail)
    assert (await ask(app, "POST", PREDICT, GOOD))[0] == 200
    assert (await ask(app, "GET", f"{RESULT}/{UNKNOWN}?wait_s=1"))[0] == 404


@pytest.mark.parametrize("path", [PREDICT, SUBMIT])
async def test_serve_names_a_request_by_its_route(app, path):
    scope = {"type": "http", "method": "POST", "path": path}
    assert get_asgi_route_name(app, scope) == path
    scope |= {"method": "GET", "path": f"{RESULT}/{UNKNOWN}"}
    assert get_asgi_route_name(app, scope) == f"{RESULT}/{{job_id}}"
    scope |= {"method": "GET", "path": "/health/live"}
    assert get_asgi_route_name(app, scope) == "/health/live"


async def test_a_predict_whose_caller_hangs_up_is_not_computed(node):
    node.replica.gate.clear()
    running = [asyncio.create_task(node.http.post(PREDICT, json=job_body(9))) for _ in range(2)]
    await eventually(lambda: len(node.replica.sizes) >= 1)
    with contextlib.suppress(httpx.TimeoutException):
        async with httpx.AsyncClient(base_url=node.url, timeout=0.5) as http:
            await http.post(PREDICT, json=job_body(1))
    left = [request for request in waiting(node) if request.data == pack(series(1))]
    assert len(left) == 1
    await eventually(lambda: not left[0].is_wanted())
    node.replica.gate.set()
    answers = await asyncio.gather(*running)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert series(1) not in node.replica.inputs


async def test_a_long_poll_whose_caller_hangs_up_ends(node):
    node.replica.gate.clear()
    job_id = (await accepted(node))["job_id"]
    with contextlib.suppress(httpx.TimeoutException):
        async with httpx.AsyncClient(base_url=node.url, timeout=0.5) as http:
            await http.get(f"{RESULT}/{job_id}", params={"wait_s": 20})
    await eventually(lambda: not node.service.events._watchers)
    node.replica.gate.set()
    assert (await ended(node, job_id))["status"] == "succeeded"
