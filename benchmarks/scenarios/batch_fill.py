"""How full batches are, and how long jobs take, as the load rises to what the model can do."""

from __future__ import annotations

from benchmarks.scenarios.calls import Api, at_moments, body_of, mean_batch_size, poisson
from benchmarks.scenarios.result import Finding, Result, quantile
from benchmarks.system import System

COMPUTE_S = 0.2
FULL = 8
CAPACITY_PER_S = FULL / COMPUTE_S
PERCENTS = (2, 5, 10, 25, 50, 75, 90, 100)
SECONDS = 8
FEWEST = 16


async def run(system: System) -> Result:
    """Offer jobs at random moments, at one rate after the other."""
    async with Api(system.url) as api:
        findings = [await _at(api, percent) for percent in PERCENTS]
    return Result(
        name="batch_fill",
        title=f"stored jobs for a model of {CAPACITY_PER_S:.0f} jobs/s, window 2 s",
        findings=tuple(findings),
    )


async def _at(api: Api, percent: int) -> Finding:
    per_s = CAPACITY_PER_S * percent / 100
    count = max(FEWEST, round(per_s * SECONDS))
    submitted = await at_moments(
        poisson(per_s, count, seed=percent), lambda: api.submit(body_of("slow", compute_s=COMPUTE_S))
    )
    for _, job_id in submitted:
        await api.result(job_id)
    jobs = await api.explain(job_id for _, job_id in submitted)
    times_s = [job.total_s for job in jobs]
    mean, p50, p99 = mean_batch_size(jobs), quantile(times_s, 50), quantile(times_s, 99)
    return Finding(
        what=f"{percent} % of capacity, {per_s:g}/s",
        measured=f"batches of {mean:.2f}, p50 {p50:.2f} s, p99 {p99:.2f} s",
        figures={
            "offered_per_s": per_s,
            "jobs": count,
            "mean_batch_size": mean,
            "p50_s": p50,
            "p99_s": p99,
        },
    )
