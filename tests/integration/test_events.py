"""Every step of every job reaches whoever watches: once, in one order, on any ingress, over SSE and WS."""

import asyncio
import contextlib
import random
from datetime import datetime
from uuid import UUID

import asyncpg
import pytest
import websockets

from satellite import watching
from satellite.errors import ReplicaDied

from .conftest import MODEL, free_port, serve
from .helpers import (
    BATCH,
    EVENTS,
    UNKNOWN,
    ended,
    eventually,
    held_back,
    job_body,
    read,
    read_to_end,
    sse,
    submitted,
)
from .test_api import RESULT, check_problem
from .test_websocket import receive, send

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def retried_job(node, db):
    """A job that succeeded at its second attempt."""
    node.replica.failure = ReplicaDied("gone")
    job_id = await submitted(node)
    await eventually(lambda: _attempts(db, job_id, 2))
    node.replica.failure = None
    result = await ended(node, job_id)
    assert (result["status"], result["attempt"]) == ("succeeded", 2)
    return job_id


async def _attempts(db, job_id, attempt):
    return await db.fetchval("SELECT attempt FROM jobs WHERE id = $1", UUID(job_id)) == attempt


async def log(db):
    """The whole log, in the order in which it is told."""
    rows = await db.fetch("SELECT xid::text AS xid, seq, * FROM events ORDER BY events.xid, events.seq")
    return [(f"{r['xid']}-{r['seq']}", str(r["job_id"]), r["status"], r["attempt"]) for r in rows]


def told(events):
    return [(e["id"], e["job_id"], e["status"], e["attempt"]) for e in events]


def steps(events):
    return [(e["id"], e["status"]) for e in events]


async def ws_events(node, count, **target):
    """The first events of a subscription over the WebSocket."""
    async with websockets.connect(node.ws_url) as socket:
        await send(socket, subscribe=target)
        if "model_name" in target:
            await receive(socket, type="model")
        return [await receive(socket, type="job") for _ in range(count)]


# What is told


async def test_the_stream_of_a_job_tells_every_step_as_it_happens_and_ends_with_the_job(nodes):
    one, two = nodes
    one.replica.gate.clear()
    job_id = await submitted(one)
    async with sse(one, job_id=job_id) as here, sse(two, job_id=job_id) as there:
        for stream in (here, there):
            first, second = await read(stream, 2)
            assert steps([first, second]) == [("1.0", "queued"), ("1.1", "running")]
            assert (first["job"], second["job"], first["model_name"]) == (None, None, MODEL)
            assert datetime.fromisoformat(first["at"]) <= datetime.fromisoformat(second["at"])
        one.replica.gate.set()
        for stream in (here, there):
            (last,) = await read_to_end(stream)
            assert steps([last]) == [("1.2", "succeeded")]
            assert last["job"]["result"] == {"forecast": [1.0]}
            assert last["job"]["job_id"] == job_id


async def test_streams_of_a_model_and_of_all_tell_what_is_in_the_log_from_now_on(nodes, db):
    one, two = nodes
    await ended(one, await submitted(one))
    old = len(await log(db))
    async with sse(one, model_name=MODEL) as model, sse(two) as all_:
        await asyncio.sleep(0.05)  # both have their position: what comes now is new
        ids = [await submitted(nodes[n % 2], n) for n in range(6)]
        for job_id in ids:
            await ended(one, job_id)
        expected = (await log(db))[old:]
        assert len(expected) == 18
        assert told(await read(model, 18)) == told(await read(all_, 18)) == expected
    assert {job_id for _, job_id, _, _ in expected} == set(ids)


# Resuming


async def test_the_stream_of_a_job_goes_on_after_every_event_on_the_other_ingress(nodes, db):
    one, two = nodes
    job_id = await retried_job(one, db)
    async with sse(one, job_id=job_id) as stream:
        whole = await read_to_end(stream)
    assert steps(whole) == [
        ("1.0", "queued"),
        ("1.1", "running"),
        ("2.0", "queued"),
        ("2.1", "running"),
        ("2.2", "succeeded"),
    ]
    assert [(s, a) for _, _, s, a in await log(db)] == [(e["status"], e["attempt"]) for e in whole]
    for number, event in enumerate(whole):
        async with sse(two, job_id=job_id, last_id=event["id"]) as stream:
            assert await read_to_end(stream) == whole[number + 1 :]
        async with sse(
            two, job_id=job_id, last_event_id=event["id"]
        ) as stream:  # where headers cannot be set
            assert await read_to_end(stream) == whole[number + 1 :]


async def test_the_log_goes_on_after_every_event_on_the_other_ingress(nodes, db):
    one, two = nodes
    await asyncio.gather(*(submitted(nodes[n % 2], n) for n in range(10)))
    await eventually(lambda: _ended(db, 10))
    expected = await log(db)
    assert len(expected) == 30
    before = f"{int(expected[0][0].split('-')[0]) - 1}-0"
    async with sse(one, last_id=before) as stream:
        assert told(await read(stream, 30)) == expected
    for number, (id_, *_) in enumerate(expected):
        params = {"model_name": MODEL} if number % 2 else {}
        async with sse(two, last_id=id_, **params) as stream:
            assert told(await read(stream, 29 - number)) == expected[number + 1 :]
    last_id = expected[-1][0]
    async with sse(two, last_id=last_id) as stream:
        job_id = await submitted(one)
        assert [e["job_id"] for e in await read(stream, 3)] == [job_id] * 3


async def _ended(db, count):
    return await db.fetchval("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL") == count


async def test_the_websocket_tells_the_same_events_with_the_same_ids(nodes, db):
    one, two = nodes
    job_id = await retried_job(one, db)
    async with sse(one, job_id=job_id) as stream:
        whole = await read_to_end(stream)
    assert await ws_events(two, 5, job_id=job_id) == whole
    assert await ws_events(two, 2, job_id=job_id, after="2.0") == whole[3:]
    expected = await log(db)
    start = f"{int(expected[0][0].split('-')[0]) - 1}-0"
    async with sse(one, last_id=start) as stream:
        everything = await read(stream, 5)
    assert told(everything) == expected
    assert await ws_events(two, 5, all=True, after=start) == everything
    assert await ws_events(two, 3, model_name=MODEL, after=expected[1][0]) == everything[2:]


async def test_who_comes_back_to_an_ingress_that_lags_behind_gets_nothing_twice(database_url, redis):
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    # Without Redis the second one looks at the log once a second only.
    async with serve(database_url, redis.url) as one, serve(database_url, nowhere) as two:
        async with sse(two) as other, sse(one) as stream:
            await asyncio.sleep(0.5)
            job_id = await submitted(one)
            seen = await read(stream, 3)
            async with sse(two, last_id=seen[-1]["id"]) as again:
                assert told(await read(other, 3)) == told(seen)
                next_id = await submitted(one)
                assert [e["job_id"] for e in await read(again, 3)] == [next_id] * 3
        assert {e["job_id"] for e in seen} == {job_id}


async def test_nothing_is_missed_or_doubled_while_two_ingresses_write_and_a_client_comes_and_goes(nodes, db):
    chance = random.Random(4)
    start = f"{await db.fetchval('SELECT pg_current_xact_id()::text')}-0"

    async def write(node, first):
        for n in range(first, first + 150, 30):
            items = [job_body(n + i) for i in range(20)]
            single = [submitted(node, n + 20 + i, max_attempts=1) for i in range(10)]
            await asyncio.gather(node.http.post(BATCH, json={"items": items}), *single)

    async def follow():
        seen, last_id = [], start
        while len(seen) < 900:
            transport = chance.choice([_sse_from, _ws_from])
            async with transport(chance.choice(nodes), last_id) as next_event:
                for _ in range(chance.randint(1, 60)):
                    try:
                        event = await asyncio.wait_for(next_event(), 2)
                    except TimeoutError:
                        break
                    seen.append(event)
                    last_id = event["id"]
                    if len(seen) == 900:
                        break
        return seen

    async with asyncio.timeout(25):
        seen, *_ = await asyncio.gather(follow(), write(nodes[0], 0), write(nodes[1], 1000))
    await eventually(lambda: _ended(db, 300))
    assert told(seen) == await log(db)


@contextlib.asynccontextmanager
async def _sse_from(node, last_id):
    async with sse(node, last_id=last_id) as stream:
        yield lambda: anext(stream)


@contextlib.asynccontextmanager
async def _ws_from(node, last_id):
    async with websockets.connect(node.ws_url) as socket:
        await send(socket, subscribe={"all": True, "after": last_id})
        yield lambda: receive(socket, type="job")
        socket.transport.abort()  # cut off, with whatever is on its way


async def test_an_older_transaction_that_is_still_writing_holds_the_log_back_and_nothing_is_lost(
    nodes, db, database_url
):
    one, two = nodes
    writer = await asyncpg.connect(database_url)
    try:
        async with sse(one) as stream, sse(two) as other:
            await asyncio.sleep(0.05)
            transaction = writer.transaction()
            await transaction.start()
            older = await writer.fetchval(
                "INSERT INTO events (job_id, tenant, model_name, status, attempt, at)"
                " VALUES ($1, 'default', 'm', 'queued', 1, now()) RETURNING job_id::text",
                UUID(UNKNOWN),
            )
            job_id = await submitted(one)
            await ended(one, job_id)
            waiting = [asyncio.create_task(read(s, 4)) for s in (stream, other)]
            await asyncio.sleep(0.3)
            assert not any(task.done() for task in waiting)
            async with sse(one, job_id=job_id) as of_job:  # its own stream does not depend on others
                assert len(await read_to_end(of_job)) == 3
            await transaction.commit()
            for task in waiting:
                events = await task
                assert [e["job_id"] for e in events] == [older, job_id, job_id, job_id]
                assert told(events) == await log(db)
    finally:
        await writer.close()


# What is refused


async def test_a_cursor_that_is_too_old_or_malformed_and_what_does_not_exist(node, db):
    job_id = await submitted(node)
    await ended(node, job_id)
    await db.execute("INSERT INTO events_dropped VALUES ('200')")
    await db.execute("INSERT INTO events_dropped VALUES ('100')")

    async def refused(status, code, *, last_id=None, **params):
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        answer = await node.http.get(EVENTS, params=params, headers=headers)
        check_problem(answer, status, code)

    await refused(410, "cursor_expired", last_id="199-5")
    await refused(410, "cursor_expired", last_id="0-0", model_name=MODEL)
    for last_id in ("x", "1.0", "-1-5", "1-", "1-2-3", "9" * 19 + "-1", "1-1 "):
        await refused(422, "invalid_request", last_id=last_id + ("" if last_id != "1-1 " else "x"))
    for last_id in ("x", "1", "1-0", "1.", ".1", "1.10", "-1.0"):
        await refused(422, "invalid_request", last_id=last_id, job_id=job_id)
    await refused(422, "invalid_request", job_id="x")
    await refused(422, "invalid_request", job_id=job_id, model_name=MODEL)
    await refused(404, "job_not_found", job_id=UNKNOWN)
    await refused(404, "model_not_found", model_name="nothing")
    async with websockets.connect(node.ws_url) as socket:
        for target, code in [
            ({"all": True, "after": "199-5"}, "cursor_expired"),
            ({"all": True, "after": "1.0"}, "invalid_request"),
            ({"job_id": job_id, "after": "1-0"}, "invalid_request"),
            ({"job_id": job_id, "after": 1}, "invalid_request"),
            ({"all": False}, "invalid_request"),
        ]:
            await send(socket, subscribe=target)
            await receive(socket, type="problem", code=code)


# When parts are away


async def test_without_redis_events_arrive_a_little_later(database_url, db):
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    async with serve(database_url, nowhere) as one, serve(database_url, nowhere) as two:
        one.replica.gate.clear()
        job_id = await submitted(one)
        async with sse(two, job_id=job_id) as of_job, sse(two, model_name=MODEL) as of_model:
            assert steps(await read(of_job)) == [("1.0", "queued")]
            next_id = await submitted(one)
            one.replica.gate.set()
            assert [e["status"] for e in await read_to_end(of_job)] == ["running", "succeeded"]
            events = await read(of_model, 5)
            assert [e["status"] for e in events if e["job_id"] == next_id] == [
                "queued",
                "running",
                "succeeded",
            ]
            assert told(events) == (await log(db))[1:]


async def test_an_ingress_that_drains_ends_streams_and_long_polls_at_once(node, monkeypatch):
    monkeypatch.setattr(watching, "POLL_S", 20)  # they are told, and do not find out by looking
    with held_back(node):
        job_id = await submitted(node)
        async with (
            sse(node, job_id=job_id) as of_job,
            sse(node) as of_all,
            websockets.connect(node.ws_url) as socket,
        ):
            await send(socket, subscribe={"all": True})
            await send(socket, subscribe={"job_id": job_id})
            await receive(socket, type="job", id="1.0")
            assert steps(await read(of_job)) == [("1.0", "queued")]
            poll = asyncio.create_task(node.http.get(f"{RESULT}/{job_id}", params={"wait_s": 20}))
            await asyncio.sleep(0.1)
            assert not poll.done()
            async with asyncio.timeout(3):
                node.service.drain()
                assert await read_to_end(of_job) == await read_to_end(of_all) == []
                assert (await poll).json()["status"] == "queued"
                with pytest.raises(websockets.ConnectionClosed):
                    while True:
                        await socket.recv()
            assert socket.close_code == 1012
