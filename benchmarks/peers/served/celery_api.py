"""Celery: the API. A job is a row before it is accepted; its result can be waited for."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import asyncpg
import redis.asyncio
from fastapi import FastAPI, HTTPException, Response
from pydantic import BaseModel

from benchmarks.peers.served.celery_worker import FINISHED, REDIS_URL, forecast

TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id uuid PRIMARY KEY,
    status text NOT NULL DEFAULT 'queued',
    input json NOT NULL,
    result json,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
)
"""
INSERT = "INSERT INTO jobs (id, input) VALUES ($1, $2)"
SELECT = "SELECT status, result FROM jobs WHERE id = $1"


class Submit(BaseModel):
    """A job."""

    series: list[float]


class Accepted(BaseModel):
    """The answer to a job."""

    job_id: UUID


class Waiters:
    """Requests that wait for a result, woken by the worker's message."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[str]] = {}

    def wait_for(self, job_id: str) -> asyncio.Future[str]:
        return self._waiting.setdefault(job_id, asyncio.get_running_loop().create_future())

    def forget(self, job_id: str) -> None:
        self._waiting.pop(job_id, None)

    async def listen(self, client: redis.asyncio.Redis) -> None:
        async with client.pubsub(ignore_subscribe_messages=True) as channel:
            await channel.subscribe(FINISHED)
            async for message in channel.listen():
                for job_id, result in json.loads(message["data"]).items():
                    waiting = self._waiting.get(job_id)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(result)


waiters = Waiters()
pool: asyncpg.Pool


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    global pool
    client = redis.asyncio.Redis.from_url(REDIS_URL)
    async with asyncpg.create_pool(os.environ["BENCH_DATABASE_URL"], min_size=10, max_size=10) as pool:
        await pool.execute(TABLE)
        listener = asyncio.create_task(waiters.listen(client))
        yield
        listener.cancel()
    await client.aclose()


api = FastAPI(lifespan=lifespan, openapi_url=None)


@api.post("/jobs", status_code=202)
async def submit(job: Submit) -> Accepted:
    job_id = uuid4()
    await pool.execute(INSERT, job_id, json.dumps(job.series))
    # Sent from the event loop: on loopback a thread costs more than it saves. `argsrepr`: without it, Celery
    # prints all arguments into the message's head.
    forecast.apply_async((str(job_id), job.series), task_id=str(job_id), argsrepr="", kwargsrepr="")
    return Accepted(job_id=job_id)


@api.get("/jobs/{job_id}")
async def result(job_id: UUID, wait_s: float = 0) -> Response:
    key = str(job_id)
    waiting = waiters.wait_for(key)  # before the look, so that no message is missed
    try:
        row = await pool.fetchrow(SELECT, job_id)
        if row is None:
            raise HTTPException(404, "no such job")
        status, found = row
        if found is None and wait_s > 0:
            with suppress(TimeoutError):
                found = await asyncio.wait_for(asyncio.shield(waiting), wait_s)
                status = "succeeded"
    finally:
        waiters.forget(key)
    body = f'{{"job_id":"{key}","status":"{status}","forecast":{found or "null"}}}'
    return Response(body, media_type="application/json")
