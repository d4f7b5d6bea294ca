"""A slow model beside a fast one: each has a queue of its own, so the fast one must not feel it."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from benchmarks import loads
from benchmarks.client import encode, measure
from benchmarks.scenarios.calls import Api, at_moments, body_of, for_seconds, steady
from benchmarks.scenarios.result import Finding, Result, quantile
from benchmarks.system import System

COMPUTE_S = 1  # a batch of the slow model
SLOW_JOBS, SLOW_PREDICTS = 48, 8  # callers of the slow model, each with one request at a time
OPEN_PER_S, CLIENTS = 150, 8
SECONDS = 6  # of each measurement
ROUNDS = 2  # alone, mixed, alone, mixed, alone
LIMIT = 1.5

FAST = encode("POST", "/api/v1/inference/predict", loads.BODY)


@dataclass(frozen=True, slots=True)
class _Times:
    """The 99th percentiles of the fast model, in milliseconds."""

    open_ms: float
    closed_ms: float


async def run(system: System) -> Result:
    """Measure the fast model alone and beside the slow one, in turn."""
    await loads.predicts(system.url, clients=CLIENTS, count=500)  # warm-up
    alone, mixed = [await _fast(system)], []
    for _ in range(ROUNDS):
        async with _slow_load(system):
            mixed.append(await _fast(system))
        alone.append(await _fast(system))
    return Result(
        name="mixed",
        title=f"lstm64 beside a model that takes {COMPUTE_S} s a batch and is never idle",
        findings=(
            _finding(
                f"predict p99 at {OPEN_PER_S}/s",
                [times.open_ms for times in alone],
                [times.open_ms for times in mixed],
            ),
            _finding(
                f"predict p99, {CLIENTS} clients",
                [times.closed_ms for times in alone],
                [times.closed_ms for times in mixed],
            ),
        ),
    )


async def _fast(system: System) -> _Times:
    async with Api(system.url) as api:
        timed = await at_moments(steady(OPEN_PER_S, OPEN_PER_S * SECONDS), lambda: api.predict(FAST))
    closed = await measure(
        system.url, for_seconds(FAST, SECONDS), clients=CLIENTS, on_answer=loads.must_have_succeeded
    )
    return _Times(quantile([took_s * 1000 for took_s, _ in timed], 99), closed.p99_ms)


@contextlib.asynccontextmanager
async def _slow_load(system: System) -> AsyncGenerator[None]:
    """Keep the slow model busy while the block runs; what it was given is done afterwards."""
    body = body_of("slow", compute_s=COMPUTE_S)
    predict = encode("POST", "/api/v1/inference/predict", {**body, "wait_s": 60})
    stop = asyncio.Event()

    async def job_caller(api: Api) -> None:
        while not stop.is_set():
            await api.result(await api.submit(body))

    async def predict_caller(api: Api) -> None:
        while not stop.is_set():
            await api.predict(predict)

    async with Api(system.url) as api, asyncio.TaskGroup() as group:
        for _ in range(SLOW_JOBS):
            group.create_task(job_caller(api))
        for _ in range(SLOW_PREDICTS):
            group.create_task(predict_caller(api))
        await asyncio.sleep(2 * COMPUTE_S)  # until it is full
        try:
            yield
        finally:
            stop.set()


def _finding(what: str, alone: list[float], mixed: list[float]) -> Finding:
    ratio = statistics.median(mixed) / statistics.median(alone)
    return Finding(
        what=what,
        measured=f"alone {_list(alone)} ms, beside it {_list(mixed)} ms: {ratio:.2f} times",
        wanted=f"< {LIMIT} times",
        met=ratio < LIMIT,
        figures={
            "alone_p99_ms": statistics.median(alone),
            "mixed_p99_ms": statistics.median(mixed),
            "ratio": ratio,
        },
    )


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)
