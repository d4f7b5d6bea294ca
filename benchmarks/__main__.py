"""`python -m benchmarks`: start-up, memory at rest, and a first look at the speed of the main job."""

from __future__ import annotations

import os
import platform
import time

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import loads
from benchmarks.system import make_root, running, scratch_home

START_LIMIT_S = 30
MEMORY_LIMIT_MB = 3000
SETTLE_S = 20  # after this Ray has ended the workers it started ahead and does not need


def main() -> None:
    # No emoji: Ray names its processes "ServeReplica:satellite:Ingress".
    console = Console(width=100, emoji=False)
    memory_gib = psutil.virtual_memory().total / 2**30
    console.print(
        f"{platform.platform()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, shared with the load"
    )
    table = Table("what", "measured", "wanted", title="Satellite on this machine")
    with scratch_home() as home, scratch_home() as root:
        make_root(root, ["lstm64"])
        with running(home, root=root) as first:
            table.add_row("first start, empty folder", f"{first.start_s:.1f} s", "")
        with running(home, root=root) as system:
            table.add_row("start to ready", f"{system.start_s:.1f} s", f"< {START_LIMIT_S} s")
            time.sleep(SETTLE_S)
            sizes = system.memory_mb()
            table.add_row("memory at rest (PSS)", f"{sum(sizes.values()):.0f} MB", f"< {MEMORY_LIMIT_MB} MB")
            for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
                table.add_row(f"  {name[:60]}", f"{size:.0f} MB", "")
            uvloop.run(measure_speed(system.url, table))
            table.add_row("memory after the load (PSS)", f"{sum(system.memory_mb().values()):.0f} MB", "")
    console.print(table)


async def measure_speed(url: str, table: Table) -> None:
    await loads.predicts(url, clients=8, count=200)  # warm-up
    for clients, count in ((1, 500), (32, 4000), (256, 4000)):
        speed = await loads.predicts(url, clients=clients, count=count)
        table.add_row(
            f"predict, {clients} client{'s' * (clients > 1)}",
            f"{speed.per_s:.0f}/s, p50 {speed.p50_ms:.1f} ms, p99 {speed.p99_ms:.1f} ms",
            "",
        )
    accepted, finished = await loads.durable_jobs(url, clients=64, count=5000)
    table.add_row("jobs accepted, 64 clients", f"{accepted.per_s:.0f}/s, p99 {accepted.p99_ms:.0f} ms", "")
    table.add_row("jobs from submit to result, 5,000", f"{finished:.0f}/s", "")


if __name__ == "__main__":
    main()
