"""A client that means no harm, beside one that does: it must hardly feel it, and memory must not grow."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import sys
from collections.abc import AsyncGenerator

from benchmarks import loads
from benchmarks.client import encode
from benchmarks.scenarios.attacks import ATTACKS
from benchmarks.scenarios.calls import Api, at_moments, steady
from benchmarks.scenarios.memory import INGRESS
from benchmarks.scenarios.result import Finding, Result, quantile
from benchmarks.system import System

PER_S, SECONDS = 100, 5  # of the good client, in each measurement
SETTLE_S = 1.5  # until an attack is under way
LIMIT = 2.0
GROWTH_MB = 300  # 256 MiB of bodies are allowed

FAST = encode("POST", "/api/v1/inference/predict", loads.BODY)


async def run(system: System) -> Result:
    """Measure a steady client alone and beside each attack, in turn."""
    await loads.predicts(system.url, clients=8, count=500)  # warm-up
    alone_ms, beside_ms = [await _p99_ms(system)], dict[str, float]()
    before_mb = await _memory_mb(system)
    grown_mb = dict[str, float]()
    for name in ATTACKS:
        async with _attack(system, name):
            beside_ms[name] = await _p99_ms(system)
            grown_mb[name] = await _memory_mb(system) - before_mb
        await asyncio.sleep(SETTLE_S)
        alone_ms.append(await _p99_ms(system))
    # The machine's own speed drifts: each attack is compared with how it was just before and just after.
    usual_ms = [statistics.mean(pair) for pair in itertools.pairwise(alone_ms)]
    return Result(
        name="hostile",
        title=f"{PER_S} predicts a second beside a hostile client",
        findings=tuple(
            _finding(name, alone, beside_ms[name], grown_mb[name])
            for name, alone in zip(ATTACKS, usual_ms, strict=True)
        ),
    )


async def _p99_ms(system: System) -> float:
    async with Api(system.url) as api:
        timed = await at_moments(steady(PER_S, PER_S * SECONDS), lambda: api.predict(FAST))
    return quantile([took_s * 1000 for took_s, _ in timed], 99)


async def _memory_mb(system: System) -> float:
    return (await asyncio.to_thread(system.memory_mb))[INGRESS]


@contextlib.asynccontextmanager
async def _attack(system: System, name: str) -> AsyncGenerator[None]:
    arguments = ["-m", "benchmarks.scenarios.attacks", system.url, name]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    try:
        await asyncio.sleep(SETTLE_S)
        if process.returncode is not None:
            raise RuntimeError(f"the attack {name!r} has ended by itself")
        yield
    finally:
        process.kill()
        await process.wait()


def _finding(name: str, alone_ms: float, beside_ms: float, grown_mb: float) -> Finding:
    ratio = beside_ms / alone_ms
    return Finding(
        what=name,
        measured=f"p99 alone {alone_ms:.1f} ms, beside it {beside_ms:.1f} ms: {ratio:.2f} times; "
        f"memory {grown_mb:+.0f} MB",
        wanted=f"<= {LIMIT:g} times, < {GROWTH_MB} MB",
        met=ratio <= LIMIT and grown_mb < GROWTH_MB,
        figures={"alone_p99_ms": alone_ms, "beside_p99_ms": beside_ms, "ratio": ratio, "grown_mb": grown_mb},
    )
