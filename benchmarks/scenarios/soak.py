"""The same load for a long time: after it has warmed up, no part of the system may grow.

The databases are told apart: PostgreSQL's shared buffers and Redis's cache of results fill with use, up to
their own limits.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import Awaitable
from dataclasses import dataclass

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from benchmarks import loads
from benchmarks.client import encode, measure
from benchmarks.scenarios.calls import ENDED, Api, at_moments, for_seconds, steady
from benchmarks.scenarios.memory import DATABASES
from benchmarks.scenarios.result import Finding, Result, quantile
from benchmarks.system import System

SECONDS = 600
SAMPLE_EVERY_S = 15
WARM_UP = 0.2  # of the time
LIMIT_PERCENT = 2
LEAST_MB = 1  # less is a matter of pages, not of growth
JOB_WATCHERS, MODEL_WATCHERS = 5, 3
FILLING = 20_000  # jobs, until the ingress's memory of those that ended last is full (`satellite/recent.py`)
# Of its capacity, each of predicts and jobs: with more of it the generator and the watchers, which share the
# machine, cannot keep up, and calls pile up until it has no file left to open.
SHARE = 0.12

PREDICT = encode("POST", "/api/v1/inference/predict", loads.BODY)


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    sizes_mb: dict[str, float]


class _Errors:
    """What went wrong, and when: a soak goes on, and tells of it at the end."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.texts: list[str] = []

    async def __call__(self, call: Awaitable[object]) -> None:
        try:
            await call
        except (RuntimeError, OSError, WebSocketException) as error:
            self.texts.append(f"after {time.perf_counter() - self._began:.0f} s: {error}")


async def run(system: System, *, seconds: float = SECONDS) -> Result:
    """A quarter of what the system can do, for so long, with a look at its memory every 15 s."""
    await loads.predicts(system.url, clients=8, count=1000)  # warm-up
    predicts_per_s = (await measure(system.url, for_seconds(PREDICT, 5), clients=32)).per_s
    predicts_per_s *= SHARE
    jobs_per_s = (await loads.durable_jobs(system.url, clients=64, count=FILLING))[1] * SHARE
    stop = asyncio.Event()
    samples: list[_Sample] = []
    errors = _Errors()
    watched = itertools.count()
    async with Api(system.url) as api:

        async def job() -> None:
            await api.result(await api.submit(loads.BODY))

        watchers = [_watch_jobs(system.url, stop, watched, errors) for _ in range(JOB_WATCHERS)]
        watchers += [errors(_watch_model(system.url, stop)) for _ in range(MODEL_WATCHERS)]
        async with asyncio.TaskGroup() as group:
            for work in (_sample(system, samples, stop), *watchers):
                group.create_task(work)
            predicts, jobs = await asyncio.gather(
                at_moments(
                    steady(predicts_per_s, round(predicts_per_s * seconds)),
                    lambda: errors(api.predict(PREDICT)),
                ),
                at_moments(steady(jobs_per_s, round(jobs_per_s * seconds)), lambda: errors(job())),
            )
            stop.set()
        at_once = api.opened
    warm = [sample for sample in samples if sample.at_s >= seconds * WARM_UP]
    return Result(
        name="soak",
        title=f"{seconds / 60:g} minutes of {predicts_per_s:.0f} predicts/s and {jobs_per_s:.0f} jobs/s",
        findings=(
            _speed("predict", [took_s for took_s, _ in predicts]),
            _speed("job, submit to result", [took_s for took_s, _ in jobs]),
            Finding(
                what="failed",
                measured=f"{len(errors.texts)} {'; '.join(errors.texts[:2])[:400]}",
                wanted="0",
                met=not errors.texts,
                figures={"failed": len(errors.texts)},
            ),
            Finding(
                what="connections",
                measured=f"{at_once} at most; {next(watched):,} jobs submitted and watched over WebSocket",
                figures={"connections": at_once},
            ),
            *_growths(warm),
        ),
    )


def _speed(what: str, times_s: list[float]) -> Finding:
    p50, p99 = quantile(times_s, 50), quantile(times_s, 99)
    return Finding(
        what=what,
        measured=f"{len(times_s):,}, p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms",
        figures={"count": len(times_s), "p50_s": p50, "p99_s": p99},
    )


def _growths(samples: list[_Sample]) -> list[Finding]:
    """The whole, the databases, and every kind of process that has grown."""
    kinds = set.intersection(*(set(sample.sizes_mb) for sample in samples))
    own = kinds - set(DATABASES)
    findings = [_growth("Satellite's processes together (PSS)", samples, own)]
    each = [_growth(f"  {kind}"[:60], samples, {kind}) for kind in own]
    each.sort(key=lambda finding: -finding.figures["growth_mb"])
    findings += [finding for finding in each if finding.figures["growth_mb"] >= LEAST_MB or not finding.met]
    findings += [_growth(f"{kind} (fills with use)", samples, {kind}, limited=False) for kind in DATABASES]
    return findings


def _growth(what: str, samples: list[_Sample], kinds: set[str], *, limited: bool = True) -> Finding:
    """From the first third to the last, by their medians; and the slope of a line through all."""
    sizes = [sum(sample.sizes_mb[kind] for kind in kinds) for sample in samples]
    third = max(1, len(sizes) // 3)
    first, last = statistics.median(sizes[:third]), statistics.median(sizes[-third:])
    growth_mb, percent = last - first, (last / first - 1) * 100
    slope = statistics.linear_regression([sample.at_s / 3600 for sample in samples], sizes).slope
    return Finding(
        what=what,
        measured=f"{first:.1f} to {last:.1f} MB: {percent:+.2f} % ({slope:+.0f} MB/h)",
        wanted=f"< {LIMIT_PERCENT} %" if limited else "",
        met=(percent < LIMIT_PERCENT or growth_mb < LEAST_MB) if limited else None,
        figures={"first_mb": first, "last_mb": last, "growth_mb": growth_mb, "mb_per_h": slope},
    )


async def _sample(system: System, samples: list[_Sample], stop: asyncio.Event) -> None:
    began = time.perf_counter()
    while not stop.is_set():
        samples.append(_Sample(time.perf_counter() - began, await asyncio.to_thread(system.memory_mb)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SAMPLE_EVERY_S):
                await stop.wait()


async def _watch_jobs(url: str, stop: asyncio.Event, watched: itertools.count[int], errors: _Errors) -> None:
    """Submit a job over a socket of its own, watch it to its end, and again, about once a second."""
    while not stop.is_set():
        await errors(_watch_job(url))
        next(watched)
        await asyncio.sleep(1)


async def _watch_job(url: str) -> None:
    async with asyncio.timeout(60), connect(_ws(url), proxy=None) as socket:
        await socket.send(orjson.dumps({"submit": loads.BODY}).decode())
        status = ""
        while status not in ENDED:
            message = orjson.loads(await socket.recv())
            status = message.get("status", "") if message["type"] == "job" else ""


async def _watch_model(url: str, stop: asyncio.Event) -> None:
    """Read all events of the model."""
    async with connect(_ws(url), proxy=None) as socket:
        await socket.send(orjson.dumps({"subscribe": {"model_name": "lstm64"}}).decode())
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await socket.recv()


def _ws(url: str) -> str:
    return url.replace("http", "ws", 1) + "/api/v1/ws"
