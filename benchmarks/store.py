"""The job store as history grows: `python -m benchmarks.store [--rows 10000000]`.

Fills a scratch PostgreSQL with that many ended jobs over 25 days and prints what every kind of read takes,
and how many jobs a second are inserted and completed, beside an empty table. A million needs 0.5 GB of disk.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
from rich.console import Console
from rich.table import Table

from benchmarks.system import scratch_home
from satellite.cli.embedded import EmbeddedPostgres
from satellite.cli.ray_head import free_ports
from satellite.cli.state import Paths
from satellite.jobs import Job, JobStatus, Run, first_id_at, new_job_id
from satellite.store import Completion, JobFilter, NewJob, Store

DAYS = 25
JOBS = 12_800
CLIENTS = 64
INPUT = "[" + ",".join(["1.25"] * 24) + "]"
CONFIG = '{"forecast_steps":5}'

# One day of history: 1 in 500 failed, 1 in 5,000 dead, 1 in 10,000 of a rare model, 1 in 100 labelled.
FILL = """
INSERT INTO jobs (id, tenant, model_name, status, attempt, max_attempts, owner, created_at, started_at,
                  finished_at, model_version, batch_size, flush_reason, input, config, result, error, run_at,
                  rank_at, labels, replica_id, admission_s, queue_s, fill_s, compute_s)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5('x' || n), 1, 15))::uuid,
       'default',
       CASE WHEN n % 10000 = 0 THEN 'rare' WHEN n % 3 = 0 THEN 'other' ELSE 'common' END,
       status::job_status, 1, 3, $4::uuid, at, at, at + interval '2 s', '1.0.0', 8, 'full', $5::json,
       $6::json,
       CASE WHEN status = 'succeeded' THEN '{"forecast":[1,2,3,4,5]}'::json END,
       CASE WHEN status <> 'succeeded' THEN '{"code":"model_failed"}'::json END, at, at,
       CASE WHEN n % 100 = 0 THEN ARRAY['site=' || n % 7, 'device=' || n % 50000] END, 'r', 0.1, 0.1, 0.1, 0.1
FROM (SELECT n, $1::timestamptz + n * $2::interval AS at,
             CASE WHEN n % 5000 = 0 THEN 'dead' WHEN n % 500 = 0 THEN 'failed' ELSE 'succeeded' END AS status
      FROM generate_series(0, $3::int - 1) AS n) AS jobs
"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with scratch_home() as home:
        paths = Paths(home)
        paths.create()
        server = EmbeddedPostgres(paths=paths, port=free_ports(1)[0], password="bench")
        server.start()
        server.wait_ready()
        try:
            asyncio.run(measure(server.url, rows))
        finally:
            assert server.process is not None
            server.process.terminate()
            server.process.wait()


async def measure(url: str, rows: int) -> None:
    """Measure an empty store, fill it, and measure it again."""
    store = await Store.open(url, pool_size=8)
    empty = await jobs_per_s(store)
    print(f"Writing {rows:,} jobs ...", flush=True)
    await fill(url, rows)
    full = await jobs_per_s(store)
    reads = await read_times(store)
    await store.close()
    table = Table("what", "p50", "worst", title=f"The job store with {rows:,} stored jobs")
    for name, times_ms in reads:
        table.add_row(name, f"{statistics.median(times_ms):.1f} ms", f"{max(times_ms):.1f} ms")
    table.add_row("insert + complete, empty table", f"{empty:,.0f} jobs/s", "")
    table.add_row("insert + complete, full table", f"{full:,.0f} jobs/s", f"{empty / full:.2f} times slower")
    Console(width=100).print(table)


async def fill(url: str, rows: int) -> None:
    """Write history, and let PostgreSQL look at it."""
    connection = await asyncpg.connect(url)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    await connection.execute("SET synchronous_commit = off")
    first = (today - timedelta(days=DAYS)).date()
    await connection.fetchval("SELECT ensure_partitions($1::date, $2::int)", first, DAYS)
    count = rows // DAYS
    for day in range(1, DAYS + 1):
        step = timedelta(seconds=86_000 / count)
        await connection.execute(FILL, today - timedelta(days=day), step, count, uuid4(), INPUT, CONFIG)
    await connection.execute("ANALYZE jobs")
    await connection.close()


async def jobs_per_s(store: Store) -> float:
    """How many jobs a second are inserted and completed by 64 callers."""
    owner = uuid4()

    async def caller() -> None:
        for _ in range(JOBS // CLIENTS):
            job_id, created_at = new_job_id()
            job = Job(
                job_id=job_id,
                tenant="default",
                model_name="common",
                status=JobStatus.QUEUED,
                attempt=1,
                created_at=created_at,
            )
            await store.insert(NewJob(job=job, input=INPUT, config=CONFIG, owner=owner))
            await store.complete(
                Completion(
                    job_id=job_id,
                    attempt=1,
                    owner=owner,
                    status=JobStatus.SUCCEEDED,
                    started_at=datetime.now(UTC),
                    result='{"forecast":[1,2,3,4,5]}',
                    run=Run(batch_id=uuid4(), batch_size=8, flush_reason="full"),
                )
            )

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CLIENTS)))
    return JOBS / (time.perf_counter() - began)


async def read_times(store: Store) -> list[tuple[str, list[float]]]:
    """What every kind of read takes, in milliseconds."""
    now = datetime.now(UTC)
    middle = first_id_at(now - timedelta(days=12))

    def page(**wanted: Any) -> Callable[[], Awaitable[object]]:
        before = wanted.pop("before", None)
        return lambda: store.list_jobs("default", JobFilter(**wanted), before=before, limit=50)

    day = {"created_after": now - timedelta(days=5), "created_before": now - timedelta(days=4)}
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "list: newest": page(),
        "list: a page in the middle": page(before=middle),
        "list: a common model": page(model_name="common"),
        "list: a rare model": page(model_name="rare"),
        "list: a model that does not exist": page(model_name="none"),
        "list: succeeded": page(statuses=(JobStatus.SUCCEEDED,)),
        "list: dead": page(statuses=(JobStatus.DEAD,)),
        "list: dead, of a rare model": page(model_name="rare", statuses=(JobStatus.DEAD,)),
        "list: queued": page(statuses=(JobStatus.QUEUED,)),
        "list: a common label": page(labels=("site=3",)),
        "list: a rare label": page(labels=("device=1200",)),
        "list: a label that does not exist": page(labels=("device=x",)),
        "list: one day, dead": page(statuses=(JobStatus.DEAD,), **day),
        "get": lambda: store.get(middle, "default"),
        "claim": lambda: store.claim(uuid4(), {"common": 200, "rare": 200}),
        "dead jobs to replay": lambda: store.replayable(
            "default", job_ids=None, model_name=None, error_code=None, limit=100
        ),
    }
    measured: list[tuple[str, list[float]]] = []
    for name, read in reads.items():
        times_ms: list[float] = []
        for _ in range(10):
            began = time.perf_counter()
            await read()
            times_ms.append((time.perf_counter() - began) * 1000)
        measured.append((name, times_ms))
    return measured


if __name__ == "__main__":
    main()
