"""Runs one scenario on a running system: load and faults together, then the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from tests.faults.checker import Violation, check, lost, recorded_twice
from tests.faults.client import Clients
from tests.faults.evidence import (
    AUDIT,
    TERMINAL,
    Evidence,
    Features,
    Transition,
    change_schema,
    collect,
    find_features,
    read_jobs,
    read_runs,
)
from tests.faults.faults import Target, is_up
from tests.faults.history import Acknowledged, FaultInjected, History, Refused, Submitted, Unknown
from tests.faults.load import MODEL, plan
from tests.faults.messages import Line
from tests.faults.scenarios import Fault, Scenario
from tests.faults.watchers import every, watch_sse, watch_ws
from tests.system import System, edit_yaml

HERE = Path(__file__).parent
SETTLE_S = 60.0
READY_S = 90.0
LOOK_S = 0.5
PLAIN = ("echo", "sleep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of one scenario."""

    scenario: Scenario
    history: History
    accepted: int
    refused: int
    unknown: int
    again: int  # jobs that were tried again or taken over: those that the fault hit
    lost: set[str]
    twice: set[str]
    violations: list[Violation]
    new_work_s: float | None  # see `scenarios`; None: nothing was submitted after the fault
    old_work_s: float
    failures: list[str] = field(default_factory=list)  # what else went wrong

    @property
    def ok(self) -> bool:
        return not (self.violations or self.failures)


def add_probe(system: System) -> None:
    """Give the system the probe and a second ingress, in its own copy of `configs/` and `models/`."""
    shutil.copy(HERE / "probe_model.py", system.root / f"models/{MODEL}.py")
    shutil.copy(HERE / "probe.yaml", system.root / f"configs/models/{MODEL}.yaml")
    edit_yaml(
        system.root / "configs/environments/local.yaml",
        lambda c: c["ingress"]["autoscaling"].update(min_replicas=2, max_replicas=2),
    )


async def prepare(system: System) -> Features:
    """Add the audit to the system's database, and find out what the system can do."""
    async with httpx.AsyncClient(base_url=system.url, trust_env=False, timeout=30) as http:
        paths = set((await http.get("/openapi.json")).json()["paths"])
    db = await asyncpg.connect(system.database_url)
    try:
        await change_schema(db, AUDIT)
        return await find_features(db, paths)
    finally:
        await db.close()


async def remove_audit(system: System) -> None:
    """Leave the database as it was found."""
    db = await asyncpg.connect(system.database_url)
    try:
        await change_schema(db, "DROP TRIGGER faults_audit ON jobs; DROP FUNCTION faults_audit")
        await db.execute("DROP TABLE faults_audit")
    finally:
        await db.close()


async def run_scenario(system: System, scenario: Scenario, features: Features, *, seed: int) -> Report:
    """Run a scenario and judge it.

    Args:
        system: a running system that `prepare` has seen.
        scenario: what happens.
        features: what the system can do.
        seed: of the load and of the choice of victims.
    """
    since_s, history = time.time(), History()
    prefix = f"{scenario.name}-{seed}-{int(since_s)}"
    clients = Clients(system.url, history, seed=seed)
    target = Target(
        system=system,
        history=history,
        clients=clients,
        features=features,
        rng=random.Random(seed),
        prefix=prefix,
    )
    line = await asyncio.to_thread(Line, system, prefix) if system.kafka else None
    observer = _Observer(system.database_url)
    failures: list[str] = []
    onlookers = [asyncio.create_task(observer.run())] + [
        asyncio.create_task(work) for work in _model_watchers(system.url, history, features)
    ]
    try:
        strikes = [_strike(target, at_s, fault, failures) for at_s, fault in scenario.strikes]
        operations = plan(scenario.load, features, seed=seed, prefix=prefix)
        messages = [line.produce(scenario.messages, scenario.load.duration_s)] if line else []
        await asyncio.gather(clients.run(operations), *messages, *strikes)
        if line:
            await line.settle()
        await _settle(system, since_s)
        if not await _wait_up(system):
            failures.append(f"not ready again after {READY_S:.0f} s")
        await clients.read_all({ack.job_id for ack in history.of(Acknowledged)})
    finally:
        await _stop(onlookers)
        await clients.close()
    evidence = await _collect(system, since_s, features, observer)
    if line:
        ended = {job.job_id for job in evidence.jobs if job.status in TERMINAL}
        taken, results = await line.collect(ended)
        evidence = replace(evidence, messages=taken, results=results)
        failures += _untaken(line, evidence)
    return _report(scenario, history, evidence, failures)


def _untaken(line: Line, evidence: Evidence) -> list[str]:
    """The messages that were sent, and are no job."""
    made = {job.nonce for job in evidence.jobs}
    return [f"message {nonce} was sent and is no job" for nonce in line.nonces if nonce not in made]


async def _stop(tasks: list[asyncio.Task[None]]) -> None:
    left = set(tasks)
    while left:  # a library on the way may take the first cancellation for its own
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=2)
    await asyncio.gather(*tasks, return_exceptions=True)


def _model_watchers(url: str, history: History, features: Features) -> list[Any]:
    """Onlookers of the whole model, who come and go all the time."""
    subject = {"model_name": MODEL}
    watchers = [watch_ws(url, history, "onlooker ws", subject, every(150), give_up_s=300)]
    if features.sse:
        watchers.append(watch_sse(url, history, "onlooker sse", subject, every(150), give_up_s=300))
    return watchers


async def _strike(target: Target, at_s: float, fault: Fault, failures: list[str]) -> None:
    await asyncio.sleep(at_s)
    try:
        await fault(target)
    except Exception as error:
        failures.append(f"{fault.__name__}: {type(error).__name__}: {error}")


class _Observer:
    """Looks at the heartbeats all the time, and at how long the database was away."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self.heartbeats: dict[str, float] = {}
        self.outage_s = 0.0

    async def run(self) -> None:
        db: asyncpg.Connection | None = None
        away_since_s: float | None = None
        try:
            while True:
                try:
                    if db is None or db.is_closed():
                        db = await asyncpg.connect(self._url, timeout=2)
                    rows = await db.fetch("SELECT owner, heartbeat_at FROM ingresses", timeout=2)
                    self.heartbeats |= {str(row["owner"]): row["heartbeat_at"].timestamp() for row in rows}
                    if away_since_s is not None:
                        self.outage_s += time.monotonic() - away_since_s
                        away_since_s = None
                except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    away_since_s = away_since_s or time.monotonic()
                await asyncio.sleep(LOOK_S)
        finally:
            if db is not None:
                db.terminate()


async def _settle(system: System, since_s: float) -> None:
    """Until every job has ended, or for as long as one may reasonably wait."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            db = await asyncpg.connect(system.database_url, timeout=5)
            try:
                if all(job.status in TERMINAL for job in await read_jobs(db, since_s)):
                    return
            finally:
                await db.close()
        await asyncio.sleep(LOOK_S)


async def _wait_up(system: System) -> bool:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if await asyncio.to_thread(is_up, system):
            return True
        await asyncio.sleep(LOOK_S)
    return False


async def _collect(system: System, since_s: float, features: Features, observer: _Observer) -> Evidence:
    db = await asyncpg.connect(system.database_url)
    try:
        return await collect(
            db,
            since_s,
            features,
            runs=read_runs(system.home / f"{MODEL}.jsonl", since_s),
            heartbeats=observer.heartbeats,
            outage_s=observer.outage_s,
        )
    finally:
        await db.close()


def _report(scenario: Scenario, history: History, evidence: Evidence, failures: list[str]) -> Report:
    new_work_s, old_work_s = recovery(history, evidence)
    struck_at_s = min((at_s for at_s, _ in scenario.strikes), default=0.0)
    if new_work_s is None and scenario.load.duration_s > struck_at_s:
        failures.append("nothing that was submitted after the fault has ended")
    elif new_work_s is not None and new_work_s > scenario.new_work_s:
        failures.append(f"new work after {new_work_s:.1f} s, not {scenario.new_work_s:g} s")
    if old_work_s > scenario.old_work_s:
        failures.append(f"old work after {old_work_s:.1f} s, not {scenario.old_work_s:g} s")
    plain = {job.job_id for job in evidence.jobs if job.op in PLAIN}
    return Report(
        scenario=scenario,
        history=history,
        accepted=len({ack.job_id for ack in history.of(Acknowledged)}),
        refused=sum(1 for _ in history.of(Refused)),
        unknown=sum(1 for _ in history.of(Unknown)),
        again=len({c.job_id for c in evidence.transitions if _is_hit(c)} & plain),
        lost=lost(history, evidence),
        twice=recorded_twice(history, evidence),
        violations=check(history, evidence),
        new_work_s=new_work_s,
        old_work_s=old_work_s,
        failures=failures,
    )


def _is_hit(change: Transition) -> bool:
    return change.taken or change.attempt > change.old_attempt


def recovery(history: History, evidence: Evidence) -> tuple[float | None, float]:
    """The two times to recover, as `scenarios` defines them; zeros where there was no fault."""
    fault_at_s = min((fault.at_s for fault in history.of(FaultInjected)), default=None)
    if fault_at_s is None:
        return 0.0, 0.0
    submitted: dict[str, float] = {}
    delayed: set[str] = set()
    for submit in history.of(Submitted):
        submitted.setdefault(submit.nonce, submit.at_s)
        if "run_at" in submit.body:
            delayed.add(submit.nonce)
    accepted_at_s: dict[str, float] = {}
    for ack in history.of(Acknowledged):
        accepted_at_s.setdefault(ack.job_id, ack.at_s)
    plain = {
        job.job_id: job
        for job in evidence.jobs
        if job.op in PLAIN and job.job_id in accepted_at_s and job.nonce
    }
    ended_at_s = {c.job_id: c.at_s for c in evidence.transitions if c.ends and c.job_id in plain}
    new = [
        ended_at_s[job_id] - fault_at_s
        for job_id, job in plain.items()
        if submitted[job.nonce or ""] > fault_at_s and job.status == "succeeded" and job_id in ended_at_s
    ]
    old = [
        ended_at_s.get(job_id, evidence.taken_at_s) - fault_at_s
        for job_id, job in plain.items()
        if accepted_at_s[job_id] <= fault_at_s and job.nonce not in delayed
    ]
    return min(new, default=None), max([0.0, *old])
