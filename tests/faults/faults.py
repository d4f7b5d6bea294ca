"""What is done to a running system. Each fault finds its victims first, and says so the moment it strikes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg
import httpx
import psutil
import redis

from satellite.cli.processes import find_run, send
from satellite.cli.state import Paths, State, read_state
from tests.faults.client import Clients
from tests.faults.evidence import Features
from tests.faults.history import FaultInjected, History
from tests.faults.load import MODEL, Operation
from tests.system import System, edit_yaml

INGRESS = "Ingress"
KAFKA = "KafkaConsumer"
# A fault waits for the moment at which it hurts, but not for ever.
MOMENT_S = 3.0
BOTH_HOLD = """SELECT count(DISTINCT owner) > 1 FROM jobs
               WHERE model_name = $1 AND status IN ('queued', 'running') AND started_at IS NOT NULL"""
# Past the lease (15 s) and the heartbeat after which somebody notices.
PAUSE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The system, and what a fault may need."""

    system: System
    history: History
    clients: Clients
    features: Features
    rng: random.Random
    prefix: str

    @property
    def state(self) -> State:
        state = read_state(Paths(self.system.home))
        assert state is not None
        return state

    def strike(self, name: str, detail: object = "") -> None:
        """Write down that it happens now."""
        self.history.add(FaultInjected(name=name, detail=str(detail)))


async def kill_replicas(target: Target) -> None:
    """SIGKILL of every replica of the probe, while it computes."""
    pids = await _pids(target, MODEL)
    await _until(target, "SELECT true FROM jobs WHERE model_name = $1 AND status = 'running' LIMIT 1")
    await _signal(target, "replica killed", pids, signal.SIGKILL)


async def kill_ingress(target: Target) -> None:
    """SIGKILL of one ingress; the other one is left."""
    pid = target.rng.choice(await _pids(target, INGRESS))
    await _until(target, BOTH_HOLD)
    await _signal(target, "ingress killed", [pid], signal.SIGKILL)


async def pause_ingress(target: Target) -> None:
    """SIGSTOP of one ingress past its lease, then SIGCONT."""
    pid = target.rng.choice(await _pids(target, INGRESS))
    await _until(target, BOTH_HOLD)
    await _signal(target, "ingress paused", [pid], signal.SIGSTOP)
    try:
        await asyncio.sleep(PAUSE_S)
    finally:
        await _signal(target, "ingress continued", [pid], signal.SIGCONT)


async def kill_controller(target: Target) -> None:
    """SIGKILL of Serve's controller."""
    pids = await _find(target, lambda process: process.cmdline()[:1] == ["ray::ServeController"])
    await _signal(target, "controller killed", pids, signal.SIGKILL)


async def kill_haproxy(target: Target) -> None:
    """SIGKILL of the front door."""
    pids = await _find(target, lambda process: process.name() == "haproxy")
    await _signal(target, "HAProxy killed", pids, signal.SIGKILL)


async def restart_postgres(target: Target) -> None:
    """A fast shutdown; the supervisor starts it again."""
    await _stop_part(target, "postgres", signal.SIGINT, "PostgreSQL stopped")


async def crash_postgres(target: Target) -> None:
    """An immediate shutdown, without a checkpoint: it recovers from its log when it starts."""
    await _stop_part(target, "postgres", signal.SIGQUIT, "PostgreSQL crashed")


async def terminate_backends(target: Target) -> None:
    """`pg_terminate_backend` for every client, in the middle of whatever it does."""
    db = await asyncpg.connect(target.system.database_url)
    try:
        target.strike("backends terminated")
        ended = await db.fetch(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""
        )
        assert ended
    finally:
        await db.close()


async def kill_redis(target: Target) -> None:
    """SIGKILL of Redis; the supervisor starts it again, empty."""
    await _stop_part(target, "redis", signal.SIGKILL, "Redis killed")


async def flush_redis(target: Target) -> None:
    """FLUSHALL: everything that was cached is gone."""

    def flush() -> None:
        with redis.Redis.from_url(target.state.redis_url) as client:
            target.strike("Redis flushed")
            client.flushall()

    await asyncio.to_thread(flush)


async def kill_broker(target: Target) -> None:
    """SIGKILL of the Kafka broker; it is started again a second later."""
    broker = target.system.kafka
    target.strike("broker killed", broker.process.pid)
    await asyncio.to_thread(broker.kill)
    await asyncio.sleep(1)
    await asyncio.to_thread(broker.start)


async def kill_consumer(target: Target) -> None:
    """SIGKILL of every replica that consumes."""
    await _signal(target, "consumer killed", await _pids(target, KAFKA), signal.SIGKILL)


async def add_consumer(target: Target) -> None:
    """A second consumer joins the group, and the partitions are shared anew."""
    root = target.system.root
    edit_yaml(root / "configs/environments/local.yaml", lambda c: c.update(kafka={"replicas": 2}))
    target.strike("consumer added")
    await asyncio.to_thread(target.system.run, "deploy", str(root / "serve_config.yaml"))


async def submit_poison(target: Target) -> None:
    """A job that ends the process that computes it."""
    nonce = f"{target.prefix}-poison"
    target.strike("poison submitted", nonce)
    key = f"key-{nonce}" if target.features.keys else None
    await target.clients.submit(nonce, key, {"model_name": MODEL, "data": {"nonce": nonce, "op": "exit"}})


async def redeploy(target: Target) -> None:
    """New resources for the probe and the ingress: all their replicas are replaced."""
    share = round(0.1 + target.rng.uniform(0.001, 0.02), 4)
    root = target.system.root
    edit_yaml(root / f"configs/models/{MODEL}.yaml", lambda c: c["cpu"].update(num_cpus=share))
    edit_yaml(root / "configs/environments/local.yaml", lambda c: c["ingress"].update(num_cpus=2 * share))
    target.strike("redeployed", share)
    await asyncio.to_thread(target.system.run, "deploy", str(root / "serve_config.yaml"))


async def hang_up_together(target: Target) -> None:
    """Fifty callers who write their submit and leave, within the same group commits as the others."""
    target.strike("callers hang up")

    async def one(number: int) -> None:
        nonce = f"{target.prefix}-gone-{number}"
        operation = Operation(nonce=nonce, at_s=0, data={"nonce": nonce}, options={})
        await asyncio.sleep(target.rng.uniform(0, 0.5))
        await target.clients.hang_up(operation, operation.body(), target.rng.uniform(0, 0.01))

    await asyncio.gather(*(one(number) for number in range(50)))


async def _pids(target: Target, deployment: str) -> list[int]:
    pids = (await asyncio.to_thread(target.system.replicas))[deployment]
    assert pids, f"no replica of {deployment} runs"
    return pids


async def _until(target: Target, query: str) -> None:
    """Wait for the database to say yes; not for long, and not if another fault has it already."""
    with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        async with asyncio.timeout(MOMENT_S):
            db = await asyncpg.connect(target.system.database_url)
            try:
                while not await db.fetchval(query, MODEL):
                    await asyncio.sleep(0.005)
            finally:
                db.terminate()


async def _find(target: Target, matches: Callable[[psutil.Process], bool]) -> list[int]:
    """The pids of this run's processes that match."""

    def look() -> list[int]:
        state, found = target.state, []
        for process in find_run(state.run_id, session=state.supervisor):
            try:
                if matches(process):
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found

    pids = await asyncio.to_thread(look)
    assert pids, "there is no such process"
    return pids


async def _signal(target: Target, name: str, pids: list[int], number: signal.Signals) -> None:
    target.strike(name, pids)
    for pid in pids:
        send(psutil.Process(pid), number)


async def _stop_part(target: Target, part: str, number: signal.Signals, name: str) -> None:
    """End a part that the supervisor restarts, and wait until it has."""
    before = target.state.parts[part]
    assert before.process is not None
    target.strike(name, before.process.pid)
    send(psutil.Process(before.process.pid), number)
    async with asyncio.timeout(60):
        while True:
            now = target.state.parts[part]
            if now.restarts > before.restarts and now.state == "up":
                return
            await asyncio.sleep(0.1)


def is_up(system: System) -> bool:
    """Whether every deployment has its replicas and the API says that it is ready."""
    try:
        answer = httpx.get(f"{system.dashboard_url}/api/serve/applications/", timeout=5)
        app = answer.json()["applications"]["satellite"]
        states = {r["state"] for d in app["deployments"].values() for r in d["replicas"]}
        ready = httpx.get(f"{system.url}/health/ready", timeout=5).status_code == 200
        return ready and app["status"] == "RUNNING" and states == {"RUNNING"}
    except (httpx.HTTPError, ValueError, KeyError):
        return False
