"""The comparison: every subject is started, left to settle, loaded and stopped, one after the other.

Before each load a smaller one warms up and is checked: every answer must hold the right forecast. Figures are
kept flat, one number per name, so that rounds and passes are summed up by their medians.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import uvloop

from benchmarks.client import Answer, Connection, Measured, measure
from benchmarks.peers import bentoml, celery, litserve, mlserver, ray_serve, satellite
from benchmarks.peers.processes import DidNotStart
from benchmarks.peers.subject import Jobs, Predict, Subject

SUBJECTS: Mapping[str, Callable[[], AbstractContextManager[Subject]]] = {
    "satellite": satellite.running,
    "mlserver": mlserver.running,
    "bentoml": bentoml.running,
    "litserve-1ms": partial(litserve.running, batch_timeout_ms=1),
    "litserve-10ms": partial(litserve.running, batch_timeout_ms=10),
    "ray-serve-fast": partial(ray_serve.running, mode="fast"),
    "ray-serve": partial(ray_serve.running, mode="default"),
    "celery-10ms": partial(celery.running, flush_interval_ms=10),
    "celery-2s": partial(celery.running, flush_interval_ms=2000),
}
JOB_CLIENTS = 64
LOAD_LIMIT_S = 120
ROUND_LIMIT_S = 6  # the slow get fewer requests
TOLERANCE = 1e-4  # of a forecast: the batch's size changes the last digits
# A reader asks again after 20 ms, then after twice that, up to a quarter of a second.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.02, 0.25

Figures = dict[str, float]
Check = Callable[[list[float] | None], None]  # raises at a wrong forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    passes: int  # over all subjects
    rounds: int  # of each load, in each pass, after one that is checked and not measured
    predicts: Mapping[int, int]  # requests by number of clients
    jobs: int
    settle_s: float  # before memory is read: a start leaves processes that end by themselves


QUICK = Plan(passes=1, rounds=1, predicts={1: 200, 32: 2000, 256: 2000}, jobs=1000, settle_s=5)
USUAL = Plan(passes=1, rounds=3, predicts={1: 500, 32: 4000, 256: 4000}, jobs=2000, settle_s=15)
FULL = Plan(passes=3, rounds=3, predicts={1: 1000, 32: 10_000, 256: 10_000}, jobs=5000, settle_s=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured of one subject; where figures are missing, `problem` says why."""

    name: str
    version: str = ""
    figures: Figures
    problem: str = ""


def compare(
    names: Iterable[str], plan: Plan, expected: list[float], say: Callable[[str], None]
) -> dict[str, Row]:
    """Measure subjects.

    Args:
        names: keys of `SUBJECTS`.
        plan: how much.
        expected: the right forecast.
        say: called with a line whenever a subject is done.
    """
    names = list(names)
    passes: dict[str, list[Row]] = {name: [] for name in names}
    for _ in range(plan.passes):
        for name in names:
            began = time.perf_counter()
            row = _measure_subject(name, plan, expected)
            passes[name].append(row)
            say(f"{row.name}: {row.problem or 'done'}, {time.perf_counter() - began:.0f} s")
    return {name: _merge(rows) for name, rows in passes.items()}


def _merge(rows: list[Row]) -> Row:
    good = [row for row in rows if row.figures]
    if not good:
        return rows[-1]
    problems = dict.fromkeys(row.problem for row in rows if row.problem)
    return Row(
        name=good[0].name,
        version=good[0].version,
        figures=medians(row.figures for row in good),
        problem="; ".join(problems),
    )


def medians(rounds: Iterable[Figures]) -> Figures:
    """The median of each figure over the rounds that have it."""
    values: dict[str, list[float]] = {}
    for figures in rounds:
        for key, value in figures.items():
            values.setdefault(key, []).append(value)
    return {key: statistics.median(found) for key, found in values.items()}


def _measure_subject(name: str, plan: Plan, expected: list[float]) -> Row:
    shown, version = name, ""
    figures: Figures = {}  # filled as they come: what was measured before a failure stays
    problem = ""
    try:
        with SUBJECTS[name]() as subject:
            shown, version = subject.name, subject.version
            time.sleep(plan.settle_s)
            figures |= {"start_s": subject.start_s, "memory_mb": subject.memory_mb()}
            uvloop.run(_load(subject, plan, expected, figures))
            figures["memory_after_mb"] = subject.memory_mb()
    except DidNotStart as exc:
        problem = f"did not start: {exc}"
    except Exception as exc:  # one peer's trouble, whatever it is, must not end the comparison
        problem = f"failed: {type(exc).__name__}: {exc}"
    return Row(name=shown, version=version, figures=figures, problem=problem)


async def _load(subject: Subject, plan: Plan, expected: list[float], figures: Figures) -> None:
    """All loads, the small ones first: some batchers stay slow for a lone caller after a crowd."""

    def check(forecast: list[float] | None) -> None:
        if forecast is None or any(
            abs(got - want) > TOLERANCE for got, want in zip(forecast, expected, strict=True)
        ):
            raise RuntimeError(f"a wrong forecast: {forecast}, not {expected}")

    if subject.predict is not None:
        for clients, count in plan.predicts.items():
            figures |= await _predicts(subject.url, subject.predict, plan.rounds, clients, count, check)
    if subject.jobs is not None:
        figures |= await _jobs(subject.url, subject.jobs, plan.rounds, plan.jobs, check)


async def _predicts(
    url: str, predict: Predict, rounds: int, clients: int, count: int, check: Check
) -> Figures:
    async with asyncio.timeout(LOAD_LIMIT_S):
        warm_up = await measure(
            url,
            [predict.request] * max(100, count // 4),
            clients=clients,
            on_answer=lambda answer: check(predict.forecast(answer)),
        )
        count = min(count, int(warm_up.per_s * ROUND_LIMIT_S))
        speeds = [await measure(url, [predict.request] * count, clients=clients) for _ in range(rounds)]
    return medians(
        {
            f"predict_{clients}_per_s": speed.per_s,
            f"predict_{clients}_p50_ms": speed.p50_ms,
            f"predict_{clients}_p99_ms": speed.p99_ms,
        }
        for speed in speeds
    )


async def _jobs(url: str, jobs: Jobs, rounds: int, count: int, check: Check) -> Figures:
    found: list[Figures] = []
    async with asyncio.timeout(LOAD_LIMIT_S):
        await durable_jobs(url, jobs, count=max(100, count // 4), on_forecast=check)
        for _ in range(rounds):
            lone_s = await _lone_job(url, jobs)
            accepted, per_s = await durable_jobs(url, jobs, count=count)
            found.append(
                {
                    "lone_job_ms": lone_s * 1000,
                    "accepts_per_s": accepted.per_s,
                    "accepts_p99_ms": accepted.p99_ms,
                    "jobs_per_s": per_s,
                }
            )
    return medians(found)


async def _lone_job(url: str, jobs: Jobs) -> float:
    """Seconds from one submit to its result, on an idle system."""
    answers: list[Answer] = []
    began = time.perf_counter()
    await measure(url, [jobs.submit], clients=1, status=jobs.accepted, on_answer=answers.append)
    await _read_all(url, jobs, answers, clients=1)
    return time.perf_counter() - began


async def durable_jobs(
    url: str,
    jobs: Jobs,
    *,
    count: int,
    clients: int = JOB_CLIENTS,
    on_forecast: Check | None = None,
) -> tuple[Measured, float]:
    """Submit `count` jobs, then read every result, as soon as it is there.

    Returns:
        The submits, and finished jobs per second over all.
    """
    answers: list[Answer] = []
    began = time.perf_counter()
    accepted = await measure(
        url, [jobs.submit] * count, clients=clients, status=jobs.accepted, on_answer=answers.append
    )
    await _read_all(url, jobs, answers, clients=clients, on_forecast=on_forecast)
    return accepted, count / (time.perf_counter() - began)


async def _read_all(
    url: str,
    jobs: Jobs,
    answers: list[Answer],
    *,
    clients: int,
    on_forecast: Check | None = None,
) -> None:
    left = iter(answers)

    async def reader(connection: Connection) -> None:
        for answer in left:
            request = jobs.read(answer)
            pause_s = FIRST_PAUSE_S
            while (forecast := jobs.forecast(await connection.send(request))) is None:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LAST_PAUSE_S)
            if on_forecast is not None:
                on_forecast(forecast)

    connections = [await Connection.open(url) for _ in range(min(clients, len(answers)))]
    try:
        await asyncio.gather(*(reader(connection) for connection in connections))
    finally:
        for connection in connections:
            connection.close()
