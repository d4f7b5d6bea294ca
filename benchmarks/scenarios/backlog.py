"""A hundred thousand waiting jobs: they wait in PostgreSQL, and an ingress holds no more than its bound."""

from __future__ import annotations

import asyncio
import time

from benchmarks.client import encode
from benchmarks.scenarios.calls import Api, body_of
from benchmarks.scenarios.memory import INGRESS
from benchmarks.scenarios.result import Finding, Result, quantile
from benchmarks.system import System

JOBS, AT_A_TIME = 100_000, 1000
MAX_HELD = 10_000  # the default of SATELLITE_MAX_HELD
SETTLED = 20_000  # by then what is held is held
STARTED = 500  # fewer than these have been computed meanwhile
LIMIT_MB = 20  # between SETTLED and all
BODY = body_of("slow", compute_s=10)


async def run(system: System, *, jobs: int = JOBS) -> Result:
    """Submit them 1,000 at a time for a model that does 8 in 10 s. They are left waiting."""
    marks = (0, MAX_HELD, SETTLED, jobs)
    memory: dict[int, dict[str, float]] = {0: await asyncio.to_thread(system.memory_mb)}
    times_s: list[float] = []
    async with Api(system.url) as api:
        for done in range(AT_A_TIME, jobs + 1, AT_A_TIME):
            began = time.perf_counter()
            await api.submit_all([BODY] * AT_A_TIME)
            times_s.append(time.perf_counter() - began)
            if done in marks:
                await asyncio.sleep(1)
                memory[done] = await asyncio.to_thread(system.memory_mb)
        waiting = await _waiting(api)
    ingress = {done: sizes[INGRESS] for done, sizes in memory.items()}
    growth_mb = ingress[jobs] - ingress[SETTLED]
    tenth = len(times_s) // 10
    early, late = (AT_A_TIME * tenth / sum(part) for part in (times_s[:tenth], times_s[-tenth:]))
    return Result(
        name="backlog",
        title=f"{jobs:,} waiting jobs of one model",
        findings=(
            Finding(
                what="waiting in PostgreSQL afterwards",
                measured=f"{waiting:,}",
                wanted=f"> {jobs - STARTED:,}",
                met=jobs - STARTED < waiting <= jobs,
                figures={"waiting": waiting},
            ),
            Finding(
                what="memory of the ingress (PSS)",
                measured=", ".join(f"{size:.0f} MB at {done:,}" for done, size in ingress.items()),
                wanted=f"< {LIMIT_MB} MB more from {SETTLED:,} on",
                met=growth_mb < LIMIT_MB,
                figures={f"at_{done}_mb": size for done, size in ingress.items()},
            ),
            Finding(
                what="a held job costs",
                measured=f"{(ingress[MAX_HELD] - ingress[0]) / MAX_HELD * 1000:.2f} kB in the ingress",
            ),
            Finding(
                what=f"submit, {AT_A_TIME:,} a call, one caller",
                measured=f"{jobs / sum(times_s):,.0f} jobs/s (first tenth {early:,.0f}, last {late:,.0f}); "
                f"a call p50 {quantile(times_s, 50):.2f} s, p99 {quantile(times_s, 99):.2f} s",
                figures={"per_s": jobs / sum(times_s), "first_per_s": early, "last_per_s": late},
            ),
            Finding(
                what="memory of all (PSS)",
                measured=", ".join(f"{sum(memory[at].values()):.0f} MB at {at:,}" for at in (0, jobs)),
            ),
        ),
    )


async def _waiting(api: Api) -> int:
    """How many jobs are stored as queued, counted page by page."""
    count, cursor = 0, ""
    while True:
        path = f"/api/v1/jobs?model_name=slow&status=queued&limit=500{cursor}"
        page = (await api.send(encode("GET", path))).json()
        count += len(page["jobs"])
        if page["next_cursor"] is None:
            return count
        cursor = f"&cursor={page['next_cursor']}"
