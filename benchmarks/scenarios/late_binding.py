"""A slow model with more work than it can take at once: batches must be cut when the replica frees, full.

40 jobs at 2/s arrive over 19.5 s, and five batches of 8 take 25 s, so nothing can be done in less than some
27 s. `@serve.batch` alone cuts batches of 4 or 5 every 2 s and takes 52 s.
"""

from __future__ import annotations

import time

from benchmarks.scenarios.calls import Api, at_moments, body_of, steady
from benchmarks.scenarios.result import Finding, Result
from benchmarks.system import System

JOBS, PER_S, COMPUTE_S = 40, 2, 5
LIMIT_S = 34
FULL = 8


async def run(system: System) -> Result:
    """Submit at a fixed rate, wait for all, and ask how they were batched."""
    async with Api(system.url) as api:
        began = time.perf_counter()
        submitted = await at_moments(
            steady(PER_S, JOBS), lambda: api.submit(body_of("slow", compute_s=COMPUTE_S))
        )
        ids = [job_id for _, job_id in submitted]
        for job_id in ids:
            await api.result(job_id)
        took_s = time.perf_counter() - began
        jobs = await api.explain(ids)
    sizes = list({job.batch_id: job.batch_size for job in jobs}.values())  # in the order they left
    # The first comes before there is a backlog, the last holds what is left of it.
    return Result(
        name="late_binding",
        title=f"{JOBS} jobs at {PER_S}/s for a model that takes {COMPUTE_S} s a batch",
        findings=(
            Finding(
                what="all done after",
                measured=f"{took_s:.1f} s",
                wanted=f"< {LIMIT_S} s",
                met=took_s < LIMIT_S,
                figures={"took_s": took_s},
            ),
            Finding(
                what="batch sizes",
                measured=", ".join(map(str, sizes)),
                wanted="8 while there is a backlog",
                met=all(size == FULL for size in sizes[1:-1]),
                figures={"batches": len(sizes), "mean": JOBS / len(sizes)},
            ),
        ),
    )
