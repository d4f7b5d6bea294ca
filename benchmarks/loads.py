"""Loads over HTTP on loopback, bounded in count."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

BODY = {
    "model_name": "lstm_timeseries",
    "data": [10 + i % 7 for i in range(24)],
    "config": {"forecast_steps": 5, "season_length": 1},
}
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One load: how many a second, and how long each took."""

    per_s: float
    p50_ms: float
    p99_ms: float


async def predicts(url: str, *, clients: int, count: int) -> Measured:
    """Synchronous requests from `clients` callers, each with one at a time."""

    async def one(session: aiohttp.ClientSession) -> None:
        await _post(session, "/api/v1/inference/predict", 200)

    return await _load(url, one, clients=clients, count=count)


async def durable_jobs(url: str, *, clients: int, count: int) -> tuple[float, float]:
    """Submit `count` jobs, then wait until every result can be read.

    Returns:
        Accepted jobs per second while submitting, and finished jobs per second over all.
    """
    ids: list[str] = []

    async def one(session: aiohttp.ClientSession) -> None:
        ids.append((await _post(session, "/api/v1/inference/submit", 202))["job_id"])

    began = time.perf_counter()
    accepted = await _load(url, one, clients=clients, count=count)
    waiting = iter(ids)

    async def read(session: aiohttp.ClientSession) -> None:
        for job_id in waiting:
            async with session.get(f"/api/v1/inference/result/{job_id}?wait_s=60") as answer:
                job = await answer.json()
                assert job["status"] == "succeeded", job

    async with _session(url, clients) as session:
        await asyncio.gather(*(read(session) for _ in range(clients)))
    return accepted.per_s, count / (time.perf_counter() - began)


async def _load(url: str, one: Any, *, clients: int, count: int) -> Measured:
    times_s: list[float] = []
    left = iter(range(count))

    async def client(session: aiohttp.ClientSession) -> None:
        for _ in left:
            began = time.perf_counter()
            await one(session)
            times_s.append(time.perf_counter() - began)

    async with _session(url, clients) as session:
        began = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(clients)))
        took_s = time.perf_counter() - began
    cuts = statistics.quantiles(times_s, n=100)
    return Measured(per_s=count / took_s, p50_ms=cuts[49] * 1000, p99_ms=cuts[98] * 1000)


def _session(url: str, clients: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        url,
        connector=aiohttp.TCPConnector(limit=clients),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    )


async def _post(session: aiohttp.ClientSession, path: str, status: int) -> Any:
    async with session.post(path, json=BODY) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()
