"""A thousand watchers over WebSocket: each must hear of the end, and soon."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.scenarios.calls import ENDED, Api, body_of
from benchmarks.scenarios.memory import INGRESS, pss_mb
from benchmarks.scenarios.result import Finding, Result, quantile
from benchmarks.system import System

WATCHERS = 1000
MODEL_JOBS = 8  # of the one model that all watch
CONNECTING = 50  # at a time
TIMEOUT_S = 60
LIMIT_S = 2.0  # from a job's end to the last watcher's hearing of it


async def run(system: System) -> Result:
    """A watcher for each of 1,000 jobs, then 1,000 watchers of one model."""
    before_mb = await asyncio.to_thread(pss_mb, system, INGRESS)
    async with Api(system.url) as api, _sockets(system.url) as sockets:
        connected_mb = await asyncio.to_thread(pss_mb, system, INGRESS)
        one_each = await _one_each(api, sockets)
        all_one = await _all_one(api, sockets)
        watched_mb = await asyncio.to_thread(pss_mb, system, INGRESS)
    await asyncio.sleep(2)
    after_mb = await asyncio.to_thread(pss_mb, system, INGRESS)
    return Result(
        name="watchers",
        title=f"{WATCHERS:,} watchers over WebSocket",
        findings=(
            one_each,
            all_one,
            Finding(
                what="memory of the ingress",
                measured=f"{before_mb:.0f} MB, connected {connected_mb:.0f}, "
                f"at the end {watched_mb:.0f}, all gone {after_mb:.0f}",
                figures={
                    "before_mb": before_mb,
                    "connected_mb": connected_mb,
                    "watched_mb": watched_mb,
                    "after_mb": after_mb,
                },
            ),
        ),
    )


async def _one_each(api: Api, sockets: Sequence[ClientConnection]) -> Finding:
    # They start only when everybody watches.
    run_at = datetime.now(UTC) + timedelta(seconds=8)
    body = body_of("echo", run_at=run_at.isoformat())
    ids = await api.submit_all([body] * len(sockets))
    lags_s = await _hear(sockets, [{"job_id": job_id} for job_id in ids], ends=1)
    late_s = (run_at - datetime.now(UTC)).total_seconds()
    assert late_s < 0, "the jobs ran before everybody watched"
    return _finding(f"{len(sockets):,} jobs, a watcher each", lags_s, len(sockets))


async def _all_one(api: Api, sockets: Sequence[ClientConnection]) -> Finding:
    targets = [{"model_name": "idle"}] * len(sockets)
    hearing = asyncio.create_task(_hear(sockets, targets, ends=MODEL_JOBS))
    await asyncio.sleep(4)  # until all have subscribed
    await api.submit_all([body_of("idle")] * MODEL_JOBS)
    return _finding(f"{MODEL_JOBS} jobs, all watch their model", await hearing, len(sockets) * MODEL_JOBS)


async def _hear(
    sockets: Sequence[ClientConnection], targets: Sequence[dict[str, Any]], *, ends: int
) -> list[float]:
    """Watch something on every socket until so many jobs have ended.

    Returns:
        For every end that was heard the seconds since then; fewer than all if somebody heard nothing.
    """
    lags_s: list[float] = []

    async def watch(socket: ClientConnection, target: dict[str, Any]) -> None:
        await socket.send(orjson.dumps({"subscribe": target}).decode())
        heard = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_S):
                while heard < ends:
                    message = orjson.loads(await socket.recv(decode=False))
                    if message["type"] == "job" and message["status"] in ENDED:
                        lags_s.append(time.time() - datetime.fromisoformat(message["at"]).timestamp())
                        heard += 1

    await asyncio.gather(*(watch(*pair) for pair in zip(sockets, targets, strict=True)))
    return lags_s


@contextlib.asynccontextmanager
async def _sockets(url: str) -> AsyncGenerator[list[ClientConnection]]:
    gate = asyncio.Semaphore(CONNECTING)

    async def open_one() -> ClientConnection:
        async with gate:
            target = url.replace("http", "ws", 1) + "/api/v1/ws"
            return await connect(target, open_timeout=30, close_timeout=5, proxy=None, compression=None)

    sockets = await asyncio.gather(*(open_one() for _ in range(WATCHERS)))
    try:
        yield sockets
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets))


def _finding(what: str, lags_s: list[float], expected: int) -> Finding:
    p50, p99, worst = quantile(lags_s, 50), quantile(lags_s, 99), max(lags_s)
    return Finding(
        what=what,
        measured=f"{len(lags_s):,} ends heard of {expected:,}; "
        f"after p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, the last {worst * 1000:.0f} ms",
        wanted=f"all, < {LIMIT_S:g} s",
        met=len(lags_s) == expected and worst < LIMIT_S,
        figures={"heard": len(lags_s), "expected": expected, "p50_s": p50, "p99_s": p99, "last_s": worst},
    )
