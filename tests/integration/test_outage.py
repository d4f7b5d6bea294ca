"""PostgreSQL goes away and comes back: callers are told at once, and no job, result or lease is lost."""

import asyncio
import contextlib
import shutil
import signal
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest

from satellite import lease
from satellite.cli.embedded import EmbeddedPostgres
from satellite.cli.state import Paths

from .conftest import free_port, serve
from .helpers import accepted, ended, eventually, held_back, job_body, series, soon, submitted
from .test_api import PREDICT, SUBMIT, check_problem


@pytest.fixture
def server():
    """A PostgreSQL of this test's own, to be taken away."""
    folder = Path(tempfile.mkdtemp(prefix="sat-"))
    paths = Paths(folder)
    paths.create()
    server = EmbeddedPostgres(paths=paths, port=free_port(), password="test")
    server.start()
    server.wait_ready()
    yield server
    server.process.send_signal(signal.SIGINT)
    server.process.wait(10)
    shutil.rmtree(folder)


@contextlib.asynccontextmanager
async def away(server):
    """It crashes, without a word to anybody, and comes back."""
    server.process.send_signal(signal.SIGQUIT)
    await asyncio.to_thread(server.process.wait, 10)
    try:
        yield
    finally:
        server.start()
        await asyncio.to_thread(server.wait_ready)


async def test_an_outage_costs_time_and_nothing_else(server, redis, monkeypatch):
    for name, value in {"LEASE_S": 0.8, "HEARTBEAT_S": 0.1, "GRACE_S": 0.4, "MARGIN_S": 0.1}.items():
        monkeypatch.setattr(lease, name, value)
    async with serve(server.url, redis.url) as one, serve(server.url, redis.url) as two:
        owners = [node.service.owner for node in (one, two)]
        one.replica.gate.clear()
        with held_back(one):  # then two full batches leave, and the rest waits
            ids = [await submitted(one, n) for n in range(20)]
            keyed = await accepted(one, 20, key="k")
        delayed = await submitted(two, 21, run_at=soon(1.0))
        await eventually(lambda: len(one.replica.sizes) == 2)

        async with away(server):
            went_at = time.monotonic()
            for node in (one, two):
                began = time.monotonic()
                answers = await asyncio.gather(
                    *(node.http.post(SUBMIT, json=job_body(99)) for _ in range(20))
                )
                again = await node.http.post(SUBMIT, json=job_body(99), headers={"Idempotency-Key": "k2"})
                batch = await node.http.post("/api/v1/inference/batch", json={"items": [job_body(99)]})
                assert time.monotonic() - began < 2
                for answer in [*answers, again, batch]:
                    check_problem(answer, 503, "store_unavailable")
                    assert int(answer.headers["retry-after"]) >= 1
                for method, path in [
                    ("GET", ""),
                    ("GET", f"/{ids[0]}/explain"),
                    ("POST", f"/{delayed}/cancel"),
                ]:
                    answer = await node.http.request(method, f"/api/v1/jobs{path}")
                    check_problem(answer, 503, "store_unavailable")
            one.replica.gate.set()
            await eventually(lambda: len(one.replica.inputs) == 16)  # computed, and not recorded yet
            assert (await two.http.post(PREDICT, json=job_body(7))).json()["result"]["forecast"] == [7.0]
            while time.monotonic() - went_at < 2 * lease.LEASE_S:
                await asyncio.sleep(0.05)
            assert len(one.replica.inputs) == 16  # nothing more was started: nobody could record it

        await eventually(lambda: all(node.service.store.connections.up for node in (one, two)), timeout_s=2)
        for number, job_id in enumerate([*ids, keyed["job_id"], delayed]):
            result = await ended(two, job_id)
            assert (result["status"], result["attempt"]) == ("succeeded", 1)
            assert result["result"]["forecast"] == [number]
        assert [node.service.owner for node in (one, two)] == owners
        computed = one.replica.inputs + [data for data in two.replica.inputs if data != series(7)]
        assert sorted(computed) == [series(n) for n in range(22)]  # each one once
        assert (await accepted(two, 20, key="k"))["job_id"] == keyed["job_id"]
        assert (await ended(one, await submitted(one, 30)))["status"] == "succeeded"
        db = await asyncpg.connect(server.url)
        assert await db.fetchval("SELECT count(*) FROM ingresses WHERE lost") == 0
        assert await db.fetchval("SELECT count(*) FROM jobs") == 23
        await db.close()
