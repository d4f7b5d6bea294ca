"""The job store as history grows: `python -m benchmarks.store [--rows 1000000 10000000]`.

Fills a scratch PostgreSQL with that many ended jobs over 25 days and prints what every kind of call takes,
and how many jobs a second are inserted and completed, beside an empty table. A million needs 0.5 GB of disk.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from rich.console import Console
from rich.table import Table

from benchmarks.system import scratch_home
from satellite.cli.embedded import EmbeddedPostgres
from satellite.cli.ray_head import free_ports
from satellite.cli.state import Paths
from satellite.groupcommit import GroupCommit
from satellite.jobs import Job, JobStatus, Run, first_id_at, new_job_id
from satellite.store import Completion, JobFilter, NewJob, Store

DAYS = 25
JOBS = 12_800
CLIENTS = 64
READS = 100  # of each kind
CLAIMS, CLAIM_AT_A_TIME = 50, 200
INPUT = "[" + ",".join(["1.25"] * 24) + "]"
CONFIG = '{"forecast_steps":5}'

# One day of history: 1 in 500 failed, 1 in 5,000 dead, 1 in 10,000 of a rare model, 1 in 100 labelled.
FILL = """
INSERT INTO jobs (id, tenant, model_name, status, attempt, max_attempts, owner, created_at, started_at,
                  finished_at, model_version, batch_size, flush_reason, input, config, result, error, run_at,
                  rank_at, labels, replica_id, admission_s, queue_s, fill_s, compute_s)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
        || '7' || substr(md5(n || $4::uuid::text), 1, 3)
        || '8' || substr(md5('x' || n || $4::uuid::text), 1, 15))::uuid,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AtSize:
    """What the store does with so many stored jobs."""

    rows: int
    jobs_per_s: float  # inserted and completed
    times_ms: dict[str, list[float]]  # of every kind of call

    def quantile_ms(self, call: str, percent: int) -> float:
        return statistics.quantiles(self.times_ms[call], n=100, method="inclusive")[percent - 1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    empty, *grown = measure_sizes([0, *sorted(parser.parse_args().rows)])
    table = Table("p50 / p99", "empty", *(f"{size.rows:,}" for size in grown), title="The job store by size")
    for call in empty.times_ms:
        base_ms = empty.quantile_ms(call, 50)
        table.add_row(call, *(_cell(size, call, base_ms) for size in (empty, *grown)))
    rates = [
        f"{size.jobs_per_s:,.0f} jobs/s, x {empty.jobs_per_s / size.jobs_per_s:.2f}"
        for size in (empty, *grown)
    ]
    table.add_row("insert + complete", *rates)
    Console(width=110).print(table)


def _cell(size: AtSize, call: str, base_ms: float) -> str:
    p50, p99 = size.quantile_ms(call, 50), size.quantile_ms(call, 99)
    return f"{p50:.1f} / {p99:.1f} ms, x {p50 / base_ms:.2f}"


def measure_sizes(counts: Sequence[int]) -> list[AtSize]:
    """Measure a PostgreSQL of its own with so many stored jobs, one count after the other, rising."""
    with scratch_home() as home:
        paths = Paths(home)
        paths.create()
        server = EmbeddedPostgres(paths=paths, port=free_ports(1)[0], password="bench")
        server.start()
        server.wait_ready()
        try:
            return asyncio.run(_measure(server.url, counts))
        finally:
            assert server.process is not None
            server.process.send_signal(signal.SIGINT)  # its SIGTERM waits for every client to leave
            server.process.wait()


async def _measure(url: str, counts: Sequence[int]) -> list[AtSize]:
    store = await Store.open(url, pool_size=8)
    sizes: list[AtSize] = []
    stored = 0
    for count in counts:
        if count > stored:
            print(f"Writing {count - stored:,} jobs ...", flush=True)
            await fill(url, count - stored)
            stored = count
        await jobs_per_s(store)  # warm-up
        per_s, submit_ms = await jobs_per_s(store)
        times_ms = {"submit": submit_ms, "claim": await claim_times(store), **await read_times(store)}
        sizes.append(AtSize(rows=count, jobs_per_s=per_s, times_ms=times_ms))
    await store.close()
    return sizes


async def fill(url: str, rows: int) -> None:
    """Write history, and let PostgreSQL look at it."""
    connection = await asyncpg.connect(url)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    await connection.execute("SET synchronous_commit = off")
    first = (today - timedelta(days=DAYS)).date()
    await connection.fetchval("SELECT ensure_partitions($1::date, $2::int)", first, DAYS)
    count, filler, began = rows // DAYS, uuid4(), time.perf_counter()
    for day in range(1, DAYS + 1):
        step = timedelta(seconds=86_000 / count)
        await connection.execute(FILL, today - timedelta(days=day), step, count, filler, INPUT, CONFIG)
    await connection.execute("ANALYZE jobs")
    stored = await connection.fetchval("SELECT count(*) FROM jobs WHERE owner = $1", filler)
    await connection.close()
    if stored != count * DAYS:
        raise RuntimeError(f"{stored:,} jobs were written, not {count * DAYS:,}")
    print(f"{stored:,} are there after {time.perf_counter() - began:.0f} s.", flush=True)


async def jobs_per_s(store: Store) -> tuple[float, list[float]]:
    """How many jobs a second are inserted and completed by 64 callers, and how long each insert took."""
    owner = uuid4()
    submit_ms: list[float] = []
    ends: GroupCommit[Completion, datetime | None] = GroupCommit(store.complete)

    async def caller() -> None:
        for _ in range(JOBS // CLIENTS):
            new = _new_job(owner)
            began = time.perf_counter()
            await store.insert(new)
            submit_ms.append((time.perf_counter() - began) * 1000)
            completion = Completion(
                job_id=new.job.job_id,
                attempt=1,
                owner=owner,
                status=JobStatus.SUCCEEDED,
                started_at=datetime.now(UTC),
                result='{"forecast":[1,2,3,4,5]}',
                run=Run(batch_id=uuid4(), batch_size=8, flush_reason="full"),
            )
            # Grouped, as an ingress does it.
            await ends.submit(completion)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CLIENTS)))
    return JOBS / (time.perf_counter() - began), submit_ms


async def claim_times(store: Store) -> list[float]:
    """How long it takes to claim 200 waiting jobs, in milliseconds."""
    times_ms: list[float] = []
    for _ in range(CLAIMS):
        await store.insert_all([_new_job(None) for _ in range(CLAIM_AT_A_TIME)])
        began = time.perf_counter()
        claimed, _ = await store.claim(uuid4(), {"common": CLAIM_AT_A_TIME, "rare": CLAIM_AT_A_TIME})
        times_ms.append((time.perf_counter() - began) * 1000)
        assert len(claimed) == CLAIM_AT_A_TIME
    return times_ms


def _new_job(owner: UUID | None) -> NewJob:
    job_id, created_at = new_job_id()
    job = Job(
        job_id=job_id,
        tenant="default",
        model_name="common",
        status=JobStatus.QUEUED,
        attempt=1,
        created_at=created_at,
    )
    return NewJob(job=job, input=INPUT, config=CONFIG, owner=owner)


async def read_times(store: Store) -> dict[str, list[float]]:
    """What every kind of read takes, in milliseconds."""
    now = datetime.now(UTC)
    middle = first_id_at(now - timedelta(days=12))
    some = await store.list_jobs("default", JobFilter(), before=middle, limit=1)
    some = some or await store.list_jobs("default", JobFilter(), before=None, limit=1)

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
        "result": lambda: store.get(some[0].job_id, "default"),
        "claim, none waits": lambda: store.claim(uuid4(), {"common": 200, "rare": 200}),
        "dead jobs to replay": lambda: store.replayable(
            "default", job_ids=None, model_name=None, error_code=None, limit=100
        ),
    }
    measured: dict[str, list[float]] = {}
    for name, read in reads.items():
        times_ms = measured[name] = []
        for _ in range(READS):
            began = time.perf_counter()
            await read()
            times_ms.append((time.perf_counter() - began) * 1000)
    return measured


if __name__ == "__main__":
    main()
