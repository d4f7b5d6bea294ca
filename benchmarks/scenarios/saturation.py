"""More callers than the model can serve: its batches must be full."""

from __future__ import annotations

import asyncio
import random
import statistics
import time

from benchmarks import loads, ray_metrics
from benchmarks.client import Answer, encode, measure
from benchmarks.scenarios.calls import Api, body_of, mean_batch_size
from benchmarks.scenarios.result import Finding, Result
from benchmarks.system import System

JOBS, JOB_CLIENTS = 4000, 64
SAMPLE = 400
PREDICTS, PREDICT_CLIENTS = 6000, 32
LIMIT = 7.5


async def run(system: System) -> Result:
    """Jobs and predicts through the LSTM; predicts through a model that waits 10 ms a batch."""
    return Result(
        name="saturation",
        title="mean batch size at saturation",
        findings=(await _jobs(system), await _predicts(system), await _paced(system)),
    )


async def _jobs(system: System) -> Finding:
    answers: list[Answer] = []
    submit = encode("POST", "/api/v1/inference/submit", loads.BODY)
    began = time.perf_counter()
    await measure(system.url, [submit] * JOBS, clients=JOB_CLIENTS, status=202, on_answer=answers.append)
    ids = [answer.json()["job_id"] for answer in answers]
    async with Api(system.url) as api:
        for job_id in ids:
            await api.result(job_id)
        per_s = JOBS / (time.perf_counter() - began)
        mean = mean_batch_size(await api.explain(random.Random(0).sample(ids, SAMPLE)))
    return _finding(f"jobs, lstm64, {JOB_CLIENTS} clients", mean, per_s)


async def _predicts(system: System) -> Finding:
    await loads.predicts(system.url, clients=PREDICT_CLIENTS, count=500)  # warm-up
    before = await ray_metrics.settled_batches(system, "lstm64")
    speed = await loads.predicts(system.url, clients=PREDICT_CLIENTS, count=PREDICTS)
    after = before
    while after.requests < before.requests + PREDICTS:
        await asyncio.sleep(1)
        after = await ray_metrics.settled_batches(system, "lstm64")
    mean = PREDICTS / (after.batches - before.batches)
    busy = (after.compute_s - before.compute_s) / speed.took_s
    return _finding(f"predict, lstm64, {PREDICT_CLIENTS} clients", mean, speed.per_s, busy=busy)


async def _paced(system: System) -> Finding:
    sizes: list[int] = []
    request = encode("POST", "/api/v1/inference/predict", body_of("echo", compute_s=0.01))
    speed = await measure(
        system.url,
        [request] * 3000,
        clients=PREDICT_CLIENTS,
        on_answer=lambda answer: sizes.append(answer.json()["result"]["batch_size"]),
    )
    return _finding(
        f"predict, 10 ms a batch, {PREDICT_CLIENTS} clients", statistics.harmonic_mean(sizes), speed.per_s
    )


def _finding(what: str, mean: float, per_s: float, *, busy: float | None = None) -> Finding:
    """`busy`: the share of the time in which the model computed; far below 1, it was not saturated."""
    return Finding(
        what=what,
        measured=f"{mean:.2f} at {per_s:.0f}/s"
        + ("" if busy is None else f", the model busy for {busy:.0%} of the time"),
        wanted=f">= {LIMIT}",
        met=mean >= LIMIT,
        figures={"mean_batch_size": mean, "per_s": per_s, **({} if busy is None else {"busy": busy})},
    )
