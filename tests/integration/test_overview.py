"""The overview: two ingresses together, one without Redis, and over the WebSocket."""

import asyncio
import itertools
import json
import time

import pytest
import websockets

from satellite import overview as module
from satellite.api.overview_schemas import Overview, WsOverview
from satellite.fairness import Tally
from satellite.tasks import stop

from .conftest import BODY, MODEL, serve
from .helpers import accepted, ended, eventually, held_back, submitted
from .test_repeat import dead_jobs

OVERVIEW = "/api/v1/overview"
COUNTED = ("submitted", "succeeded", "failed", "predicted")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


# No test sees what another one has left in Redis.
_years = itertools.count(10**10, 10**7)


class Clock:
    """The time of all ingresses of a test, moved by hand."""

    def __init__(self):
        self.now_s = next(_years)

    def __call__(self):
        return self.now_s


@pytest.fixture
async def clock(nodes, redis):
    """Two ingresses whose overviews go by this clock, and tick when they are told to."""
    clock = Clock()
    for node in nodes:
        overview = node.context.overview
        await stop(overview._task)  # it may be in the middle of a tick
        overview._clock = clock
        overview._taken_at_s = clock()
        overview._ticks.clear()
        overview._steps.clear()
        overview._unsent.clear()
        overview._growth.take()
    return clock


async def tick(clock, *nodes, seconds=module.TICK_S):
    clock.now_s += seconds
    for node in nodes:
        await node.context.overview._tick(round(clock() / module.TICK_S))


async def read(node):
    body = (await node.http.get(OVERVIEW)).json()
    Overview.model_validate(body)
    for columns in body["history"]["models"].values():
        assert {len(column) for column in columns.values()} == {len(body["history"]["at"])}
    return body


def counted(model):
    return [model[name] for name in COUNTED]


async def test_two_ingresses_are_counted_together_wherever_one_asks(nodes, clock):
    one, two = nodes
    for job_id in [await submitted(one), await submitted(one), await submitted(two)]:
        await ended(one, job_id)
    await dead_jobs(two, range(2))
    assert (await two.http.post("/api/v1/inference/predict", json=BODY)).status_code == 200
    await tick(clock, one, two)
    clock.now_s += module.SETTLE_S
    # What an ingress of another release counts is not understood, and does no harm.
    key = module._tick_key(int(clock() // module.TICK_S))
    strange = {"x": b"{", "y": b'{"span_s": 2, "models": {"m": {"z": 1}}}'}
    await one.context.overview._redis.hset(key, mapping=strange)
    for node in nodes:
        body = await read(node)
        assert body["complete"] is True
        now = body["now"]["models"][MODEL]
        assert counted(now) == [5, 3, 2, 1]
        assert (now["replicas"], now["waiting"], now["oldest_s"]) == (1, 0, None)
        assert now["batches"] >= 3 and 1 <= now["batch_size"] <= 2
        assert 0 < now["wait_p50_s"] <= now["wait_p95_s"] < 5
        assert 0 < now["compute_p50_s"] <= now["compute_p95_s"] < 5
        assert body["now"]["span_s"] == module.TICK_S
        assert body["cluster"]["nodes"][0]["cpu_percent"] == 12.5
    assert body["history"]["at"] == []  # the step is not over
    await tick(clock, one, two)
    clock.now_s += module.STEP_S
    for node in nodes:
        body = await read(node)
        assert counted(body["now"]["models"][MODEL]) == [0, 0, 0, 0]
        history = body["history"]
        assert len(history["at"]) == 1
        assert [history["models"][MODEL][name] for name in COUNTED] == [[5], [3], [2], [1]]
    # A step that is over and was read stays as it is, and an hour later it is gone.
    clock.now_s += 10 * module.STEP_S
    assert (await read(one))["history"]["at"] == history["at"]
    clock.now_s += 3600
    assert (await read(one))["history"]["at"] == []


async def test_what_waits_is_counted_once_though_every_ingress_sees_it(nodes, clock):
    one, two = nodes
    with held_back(one, two):
        for node in (one, two, two):
            await submitted(node)
        for node in (one, two):
            node.service.queues[MODEL].backlog = Tally({"default": 7})
            node.service.queues[MODEL].backlog_since_s = clock() - 50
        await tick(clock, one, two)
        clock.now_s += module.SETTLE_S
        now = (await read(one))["now"]["models"][MODEL]
        assert now["waiting"] == 3 + 7
        assert now["oldest_s"] == pytest.approx(50 + module.TICK_S, abs=0.1)


async def test_the_backlog_in_the_database_is_seen(database_url, redis, db):
    async with serve(database_url, redis.url, max_held=1) as node:
        queue = node.service.queues[MODEL]

        async def seen():
            await node.service._upkeep.run()  # as after every heartbeat
            return queue.backlog.total == 3

        with held_back(node):
            for _ in range(4):
                await accepted(node)
            await eventually(seen, timeout_s=30)
            assert time.time() - queue.backlog_since_s < 20
            assert 0 < queue.oldest_wait_s() < 20


async def test_without_redis_an_ingress_tells_of_itself_and_says_so(nodes, clock, monkeypatch):
    one, two = nodes
    lost = module.redis.Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.2)
    there = one.context.overview._redis
    await ended(one, await submitted(one))
    await ended(two, await submitted(two))
    monkeypatch.setattr(one.context.overview, "_redis", lost)
    await tick(clock, one, two)
    clock.now_s += module.SETTLE_S
    body = await read(one)
    assert body["complete"] is False
    assert counted(body["now"]["models"][MODEL])[:2] == [1, 1]
    clock.now_s += module.STEP_S
    body = await read(one)
    assert sum(body["history"]["models"][MODEL]["submitted"]) == 1
    # Once Redis is back, what it has not got is put there.
    monkeypatch.setattr(one.context.overview, "_redis", there)
    await tick(clock, one, two)
    for node in nodes:
        body = await read(node)
        assert body["complete"] is True
        assert sum(body["history"]["models"][MODEL]["submitted"]) == 2
    await lost.aclose()


async def test_memory_is_bounded(nodes, clock, redis):
    one, _ = nodes
    for _ in range(3):
        await tick(clock, one, seconds=3700)
        await read(one)
    overview = one.context.overview
    assert len(overview._steps) == 1
    assert len(overview._ticks) == 1
    assert len(overview._rows) <= module.STEPS
    keys = await overview._redis.keys("satellite:overview:*")
    assert keys
    assert all([0 < await overview._redis.ttl(key) < 4000 for key in keys])


async def test_the_overview_comes_over_the_socket_as_time_goes_by(node):
    await node.context.overview._redis.flushdb()
    async with websockets.connect(node.ws_url) as socket:
        await socket.send(json.dumps({"subscribe": {"overview": True}}))
        seen = []
        while not seen or sum(sample["submitted"] for sample in seen) < 1 or len(seen) < 2:
            message = json.loads(await asyncio.wait_for(socket.recv(), 10))
            WsOverview.model_validate(message)
            assert message["complete"] is True
            seen.append(message["now"]["models"][MODEL])
            if len(seen) == 1:
                await submitted(node)
        assert sum(sample["submitted"] for sample in seen) == 1
        await socket.send(json.dumps({"unsubscribe": {"overview": True}}))
        while json.loads(await asyncio.wait_for(socket.recv(), 10))["type"] != "unsubscribed":
            pass
        await socket.send(json.dumps({"subscribe": {"overview": True, "after": "1-1"}}))
        assert json.loads(await asyncio.wait_for(socket.recv(), 10))["code"] == "invalid_request"
