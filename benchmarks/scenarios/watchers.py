"""A thousand watchers over WebSocket: each must hear of the end, and soon."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta

import orjson
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.scenarios.calls import ENDED, Api, body_of
from benchmarks.scenarios.memory import INGRESS
from benchmarks.scenarios.result import Finding, Result, quantile
from benchmarks.system import System

WATCHERS = 1000
MODEL_JOBS = 8  # of the one model that all watch
CONNECTING = 50  # at a time
TIMEOUT_S = 60
START_S = 10  # for everybody to subscribe before the jobs start
GROWTH_MB = 10
LIMIT_S = 2.0  # from a job's end to the last watcher's hearing of it


async def run(system: System) -> Result:
    """A watcher for each of 1,000 jobs, then 1,000 watchers of one model; all of it twice, for the memory."""
    memory_mb = {"before": await _memory_mb(system)}
    findings: list[Finding] = []
    async with Api(system.url) as api:
        for time_ in ("first", "second"):
            async with _sockets(system.url) as sockets:
                memory_mb[f"{time_} time connected"] = await _memory_mb(system)
                findings = [await _one_each(api, sockets), await _all_one(api, sockets)]
                memory_mb[f"{time_} time at the end"] = await _memory_mb(system)
            await asyncio.sleep(2)
    memory_mb["all gone"] = await _memory_mb(system)
    growth_mb = memory_mb["second time at the end"] - memory_mb["first time at the end"]
    return Result(
        name="watchers",
        title=f"{WATCHERS:,} watchers over WebSocket",
        findings=(
            *findings,
            Finding(
                what="memory of the ingress (PSS)",
                measured=", ".join(f"{name} {size:.0f} MB" for name, size in memory_mb.items()),
                wanted=f"< {GROWTH_MB} MB more the second time",
                met=growth_mb < GROWTH_MB,
                figures={f"{name.replace(' ', '_')}_mb": size for name, size in memory_mb.items()},
            ),
        ),
    )


async def _memory_mb(system: System) -> float:
    return (await asyncio.to_thread(system.memory_mb))[INGRESS]


async def _one_each(api: Api, sockets: Sequence[ClientConnection]) -> Finding:
    run_at = datetime.now(UTC) + timedelta(seconds=START_S)
    ids = await api.submit_all([body_of("echo", run_at=run_at.isoformat())] * len(sockets))
    for socket, job_id in zip(sockets, ids, strict=True):
        await socket.send(orjson.dumps({"subscribe": {"job_id": job_id}}).decode())
    async with asyncio.timeout(TIMEOUT_S):  # each is told at once that its job waits
        await asyncio.gather(*(socket.recv(decode=False) for socket in sockets))
    if datetime.now(UTC) > run_at:
        raise RuntimeError("the jobs could run before everybody watched them")
    lags_s = await _hear(sockets, ends=1)
    return _finding(f"{len(sockets):,} jobs, a watcher each", lags_s, len(sockets))


async def _all_one(api: Api, sockets: Sequence[ClientConnection]) -> Finding:
    for socket in sockets:
        await socket.send('{"subscribe": {"model_name": "idle"}}')
    async with asyncio.timeout(TIMEOUT_S):  # each is shown the model as it is
        await asyncio.gather(*(socket.recv(decode=False) for socket in sockets))
    await asyncio.sleep(1)
    await api.submit_all([body_of("idle")] * MODEL_JOBS)
    lags_s = await _hear(sockets, ends=MODEL_JOBS)
    return _finding(f"{MODEL_JOBS} jobs, all watch their model", lags_s, len(sockets) * MODEL_JOBS)


async def _hear(sockets: Sequence[ClientConnection], *, ends: int) -> list[float]:
    """Read every socket until it has told of so many jobs' ends.

    Returns:
        For every end that was heard the seconds since then; fewer than all if somebody heard nothing.
    """
    lags_s: list[float] = []

    async def listen(socket: ClientConnection) -> None:
        heard = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_S):
                while heard < ends:
                    message = orjson.loads(await socket.recv(decode=False))
                    if message["type"] == "job" and message["status"] in ENDED:
                        lags_s.append(time.time() - datetime.fromisoformat(message["at"]).timestamp())
                        heard += 1

    await asyncio.gather(*map(listen, sockets))
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
