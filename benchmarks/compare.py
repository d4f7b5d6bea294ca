"""The comparison: every subject is started, left to settle, loaded and stopped, one after the other.

Figures are kept flat, one number per name, so that rounds are summed up by their medians.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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
TOLERANCE = 1e-4  # of a forecast: the batch's size changes the last digits
# A reader asks again after 20 ms, then after twice that, up to a quarter of a second.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.02, 0.25

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured."""

    passes: int  # over all subjects
    rounds: int  # of all loads, in each pass
    predicts: Mapping[int, int]  # requests by number of clients
    jobs: int
    settle_s: float  # before memory is read: a start leaves processes that end by themselves


QUICK = Plan(passes=1, rounds=1, predicts={1: 200, 32: 2000, 256: 2000}, jobs=1000, settle_s=5)
USUAL = Plan(passes=1, rounds=3, predicts={1: 500, 32: 4000, 256: 4000}, jobs=2000, settle_s=15)
FULL = Plan(passes=3, rounds=3, predicts={1: 1000, 32: 10_000, 256: 10_000}, jobs=5000, settle_s=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured of one subject; without figures, `problem` says why."""

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
    good = [row for row in rows if not row.problem]
    if not good:
        return rows[-1]
    return Row(name=good[0].name, version=good[0].version, figures=medians(row.figures for row in good))


def medians(rounds: Iterable[Figures]) -> Figures:
    """The median of each figure over the rounds that have it."""
    values: dict[str, list[float]] = {}
    for figures in rounds:
        for key, value in figures.items():
            values.setdefault(key, []).append(value)
    return {key: statistics.median(found) for key, found in values.items()}


def _measure_subject(name: str, plan: Plan, expected: list[float]) -> Row:
    try:
        with SUBJECTS[name]() as subject:
            time.sleep(plan.settle_s)
            at_rest = {"start_s": subject.start_s, "memory_mb": subject.memory_mb()}
            loaded = medians(_rounds(subject, plan, expected))
            figures = {**at_rest, **loaded, "memory_after_mb": subject.memory_mb()}
            return Row(name=subject.name, version=subject.version, figures=figures)
    except DidNotStart as exc:
        return Row(name=name, figures={}, problem=f"did not start: {exc}")
    except Exception as exc:  # one peer's trouble, whatever it is, must not end the comparison
        return Row(name=name, figures={}, problem=f"failed: {type(exc).__name__}: {exc}")


def _rounds(subject: Subject, plan: Plan, expected: list[float]) -> Iterator[Figures]:
    uvloop.run(_warm_up(subject, expected))
    for _ in range(plan.rounds):
        yield uvloop.run(_round(subject, plan))


async def _warm_up(subject: Subject, expected: list[float]) -> None:
    """Loads that are not measured but checked: every answer holds the right forecast."""

    def check(forecast: list[float] | None) -> None:
        if forecast is None or any(
            abs(got - want) > TOLERANCE for got, want in zip(forecast, expected, strict=True)
        ):
            raise RuntimeError(f"a wrong forecast: {forecast}, not {expected}")

    if subject.predict is not None:
        predict = subject.predict
        for clients, count in ((8, 400), (32, 800), (256, 512)):
            await measure(
                subject.url,
                [predict.request] * count,
                clients=clients,
                on_answer=lambda answer: check(predict.forecast(answer)),
            )
    if subject.jobs is not None:
        await durable_jobs(subject.url, subject.jobs, count=500, on_forecast=check)


async def _round(subject: Subject, plan: Plan) -> Figures:
    figures: Figures = {}
    async with asyncio.timeout(LOAD_LIMIT_S):
        if subject.predict is not None:
            for clients, count in plan.predicts.items():
                figures |= await _predicts(subject.url, subject.predict, clients=clients, count=count)
        if subject.jobs is not None:
            lone = [await _lone_job(subject.url, subject.jobs) for _ in range(3)]
            figures["lone_job_ms"] = statistics.median(lone) * 1000
            accepted, per_s = await durable_jobs(subject.url, subject.jobs, count=plan.jobs)
            figures |= {
                "accepts_per_s": accepted.per_s,
                "accepts_p99_ms": accepted.p99_ms,
                "jobs_per_s": per_s,
            }
    return figures


async def _predicts(url: str, predict: Predict, *, clients: int, count: int) -> Figures:
    speed = await measure(url, [predict.request] * count, clients=clients)
    return {
        f"predict_{clients}_per_s": speed.per_s,
        f"predict_{clients}_p50_ms": speed.p50_ms,
        f"predict_{clients}_p99_ms": speed.p99_ms,
    }


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
    on_forecast: Callable[[list[float]], None] | None = None,
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
    on_forecast: Callable[[list[float]], None] | None = None,
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
