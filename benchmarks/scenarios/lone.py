"""A request that comes alone: a predict pays its computing, not the window of a batch."""

from __future__ import annotations

import time
from typing import Any

from benchmarks import loads
from benchmarks.client import encode, measure
from benchmarks.scenarios.calls import Api, body_of
from benchmarks.scenarios.result import Finding, Result, quantile
from benchmarks.system import System

COMPUTE_S = 0.05
WINDOW_S = 2.0  # of `echo`, in its config
PREDICTS, IDLE_JOBS, WINDOW_JOBS = 60, 30, 4
LIMIT_MS = 10  # a predict, over what it computes
JOB_LIMIT_MS = 20  # a stored job, over what it computes and waits


async def run(system: System) -> Result:
    """Send one request after the other."""
    await loads.predicts(system.url, clients=1, count=20)  # warm-up
    lstm = await loads.predicts(system.url, clients=1, count=300)
    request = encode("POST", "/api/v1/inference/predict", body_of("echo", compute_s=COMPUTE_S))
    predict = await measure(system.url, [request] * PREDICTS, clients=1, on_answer=loads.must_have_succeeded)
    async with Api(system.url) as api:
        await _job(api, body_of("idle"))
        window = [await _job(api, body_of("echo", compute_s=COMPUTE_S)) for _ in range(WINDOW_JOBS)]
        idle = [await _job(api, body_of("idle", compute_s=COMPUTE_S)) for _ in range(IDLE_JOBS)]
    return Result(
        name="lone",
        title="what a lone request costs over its computing",
        findings=(
            _finding("predict, lstm64 and all", lstm.times_s, 0, LIMIT_MS),
            _finding("predict, 50 ms of computing", predict.times_s, COMPUTE_S, LIMIT_MS),
            _finding("stored job, flush: window (2 s)", window, COMPUTE_S + WINDOW_S, JOB_LIMIT_MS),
            _finding("stored job, flush: idle", idle, COMPUTE_S, JOB_LIMIT_MS),
        ),
    )


async def _job(api: Api, body: dict[str, Any]) -> float:
    """Submit a job and wait for its result; the seconds that took."""
    began = time.perf_counter()
    await api.result(await api.submit(body))
    return time.perf_counter() - began


def _finding(what: str, times_s: list[float] | tuple[float, ...], base_s: float, limit_ms: float) -> Finding:
    over_ms = [(took_s - base_s) * 1000 for took_s in times_s]
    p50, worst = quantile(over_ms, 50), max(over_ms)
    base = f"{base_s:g} s + " if base_s else ""
    return Finding(
        what=what,
        measured=f"{base}{p50:.1f} ms, at worst {worst:.1f} ms of {len(over_ms)}",
        wanted=f"< {base}{limit_ms:g} ms",
        met=p50 < limit_ms,
        figures={"over_p50_ms": p50, "over_worst_ms": worst, "base_s": base_s},
    )
