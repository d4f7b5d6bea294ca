"""What several files of tests do with an ingress."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from .conftest import MODEL
from .test_api import RESULT, SUBMIT

JOBS = "/api/v1/jobs"
EVENTS = "/api/v1/events"
BATCH = "/api/v1/inference/batch"
UNKNOWN = "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d"


def series(number):
    """An input that tells its job from the others."""
    return [float(number)] * 4


def job_body(number=1, **fields):
    return {"model_name": MODEL, "data": series(number), "config": {"forecast_steps": 1}} | fields


def soon(seconds):
    """A moment, as callers write it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def accepted(node, number=1, *, key=None, **fields):
    """Submit a job; the body of the 202."""
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = await node.http.post(SUBMIT, json=job_body(number, **fields), headers=headers)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def submitted(node, number=1, **fields):
    """Submit a job; its id."""
    return (await accepted(node, number, **fields))["job_id"]


async def ended(node, job_id):
    """The result of a job, once it has ended."""
    result = (await node.http.get(f"{RESULT}/{job_id}", params={"wait_s": 10})).json()
    assert result["finished_at"], result
    return result


async def shown(node, job_id):
    """Everything that is told of a job."""
    answer = await node.http.get(f"{JOBS}/{job_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def waiting(node):
    """What waits in the queue of the only model."""
    (queue,) = node.service.queues.values()
    return list(queue)


async def row_of(db, job_id):
    return await db.fetchrow("SELECT * FROM jobs WHERE id = $1", UUID(job_id))


async def eventually(condition, timeout_s=10):
    """Wait until a condition holds; it may be a coroutine function."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


def queue_of(node):
    return node.service.queues[MODEL]


@contextlib.contextmanager
def held_back(*nodes):
    """No replica has room: what is submitted waits in its ingress."""
    for node in nodes:
        queue_of(node)._busy += 10**6
    try:
        yield
    finally:
        for node in nodes:
            queue_of(node)._busy -= 10**6
            queue_of(node).poke()


@contextlib.asynccontextmanager
async def busy(node):
    """The replica computes one full batch and has another ready; leaves when its gate opens."""
    node.replica.gate.clear()
    before = len(node.replica.sizes)
    with held_back(node):
        ids = await asyncio.gather(*(submitted(node, 1000 + n) for n in range(16)))
    await eventually(lambda: len(node.replica.sizes) == before + 2)
    try:
        yield ids
    finally:
        node.replica.gate.set()


@contextlib.asynccontextmanager
async def sse(node, *, last_id=None, **params):
    """A stream of server-sent events: `next(stream)` by `await read(stream)`."""
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with node.http.stream("GET", EVENTS, params=params, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        async with contextlib.aclosing(_events(response)) as events:
            yield events


async def _events(response):
    fields = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            body = json.loads(fields["data"])
            assert body["type"] == "job" or fields["event"] == "problem"
            assert fields.get("id") == body.get("id")
            yield body
            fields = {}


async def read(events, count=1):
    """The next events of a stream."""
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


async def read_to_end(events):
    """All events of a stream that ends by itself."""
    async with asyncio.timeout(10):
        return [event async for event in events]
