"""Redis and PostgreSQL away: what still works, and what the callers are told."""

import asyncio

from satellite.cli.embedded import EmbeddedRedis

from .conftest import free_port, serve
from .test_api import RESULT, SUBMIT, check_problem


async def test_without_redis_jobs_are_accepted_run_and_found(database_url, body):
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    async with serve(database_url, nowhere) as one, serve(database_url, nowhere) as two:
        job = (await one.http.post(SUBMIT, json=body)).json()
        result = await two.http.get(job["links"]["wait"])  # no event can reach it: it looks at PostgreSQL
        assert result.json()["status"] == "succeeded"
        health = await one.http.get("/health")
        assert health.status_code == 200
        assert health.json()["state"] == "degraded"
        assert health.json()["parts"]["redis"]["state"] == "degraded"


async def test_redis_that_comes_back_is_used_again(database_url, home, body):
    server = EmbeddedRedis(paths=home, port=free_port(), password="test")
    server.start()
    await asyncio.to_thread(server.wait_ready)
    async with serve(database_url, server.url) as node:
        async with asyncio.timeout(10):
            while not node.service.events.connected:
                await asyncio.sleep(0.02)
        server.process.kill()
        server.process.wait()
        job = (await node.http.post(SUBMIT, json=body)).json()
        assert (await node.http.get(job["links"]["wait"])).json()["status"] == "succeeded"
        server.start()
        await asyncio.to_thread(server.wait_ready)
        async with asyncio.timeout(10):
            while not node.service.events.connected:
                await asyncio.sleep(0.02)
        assert (await node.http.get("/health")).json()["state"] == "ok"
    server.process.terminate()
    server.process.wait()


async def test_without_postgres_submits_answer_503_and_health_says_so(node, body):
    await node.service.store.connections.pool.close()  # every connection refuses from here on
    answer = await node.http.post(SUBMIT, json=body)
    check_problem(answer, 503, "store_unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    health = await node.http.get("/health")
    assert health.status_code == 503
    assert health.json()["accepting"] is False
    assert (await node.http.get("/health/live")).status_code == 200
    unknown = await node.http.get(f"{RESULT}/0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d")
    check_problem(unknown, 503, "store_unavailable")
    predict = await node.http.post("/api/v1/inference/predict", json=body)
    assert predict.json()["status"] == "succeeded"  # needs no database
