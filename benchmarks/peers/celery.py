"""The classic design: FastAPI, PostgreSQL, and Celery over Redis with celery-batches.

The API is one uvicorn process (uvloop, httptools) with an asyncpg pool; the worker is one process, as there
is one model, with late acknowledgements so that a crash loses nothing at once. There is no result backend:
the worker writes the results of a batch to PostgreSQL in one statement. Clients wait for a result in the API,
which hears of it over Redis: that is faster than polling.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from benchmarks import lstm64
from benchmarks.client import Answer, encode
from benchmarks.peers.processes import Processes, first_answer, own_processes
from benchmarks.peers.subject import PEERS, Jobs, Subject
from satellite.cli.embedded import EmbeddedPostgres, EmbeddedRedis, Secrets
from satellite.cli.ray_head import free_ports
from satellite.cli.state import Paths

API_PROCESSES = 1
PREFETCH = 64


@contextmanager
def running(*, flush_interval_ms: int) -> Generator[Subject]:
    """Start the databases, the API and the worker, and stop them.

    Args:
        flush_interval_ms: for how long celery-batches collects, unless it has 8.
    """
    port, postgres_port, redis_port = free_ports(3)
    url = f"http://127.0.0.1:{port}"
    jobs = Jobs(
        submit=encode("POST", "/jobs", {"series": lstm64.SERIES}),
        accepted=202,
        read=lambda accepted: encode("GET", f"/jobs/{accepted.json()['job_id']}?wait_s=60"),
        forecast=_forecast,
    )
    with own_processes() as processes:
        began = time.perf_counter()
        environment = _start_databases(processes, postgres_port, redis_port) | {
            "BENCH_FLUSH_INTERVAL_S": str(flush_interval_ms / 1000),
            "BENCH_PREFETCH": str(PREFETCH),
        }
        served = "benchmarks.peers.served"
        worker = [PEERS.program("celery"), "--app", f"{served}.celery_worker", "worker"]
        worker += ["--pool", "prefork", "--loglevel", "warning"]
        worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        processes.start(worker, environment=environment)
        api = [PEERS.program("uvicorn"), f"{served}.celery_api:api", "--host", "127.0.0.1"]
        api += ["--port", str(port), "--workers", str(API_PROCESSES), "--loop", "uvloop"]
        api += ["--http", "httptools", "--no-access-log", "--log-level", "warning"]
        processes.start(api, environment=environment)
        accepted = first_answer(processes, url, jobs.submit, status=jobs.accepted)
        first_answer(processes, url, jobs.read(accepted))
        yield Subject(
            name=f"Celery, {flush_interval_ms} ms",
            version=PEERS.versions("celery", "celery-batches", "fastapi"),
            url=url,
            start_s=time.perf_counter() - began,
            memory_mb=processes.memory_mb,
            jobs=jobs,
        )


def _start_databases(processes: Processes, postgres_port: int, redis_port: int) -> dict[str, str]:
    paths = Paths(processes.folder)
    paths.create()
    secrets = Secrets.of(paths)
    postgres = EmbeddedPostgres(paths=paths, port=postgres_port, password=secrets.postgres)
    redis = EmbeddedRedis(paths=paths, port=redis_port, password=secrets.redis)
    for server in (postgres, redis):
        server.start()
        processes.add(server.process)
    postgres.wait_ready()
    redis.wait_ready()
    return {"BENCH_DATABASE_URL": postgres.url, "BENCH_REDIS_URL": redis.url}


def _forecast(answer: Answer) -> list[float] | None:
    if answer.status != 200:
        raise RuntimeError(f"a job cannot be read: {answer.status} {answer.body[:500]!r}")
    return answer.json()["forecast"]
