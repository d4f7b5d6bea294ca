"""`python -m benchmarks.scenarios [NAME ...] [--docs]`: Satellite's own promises, measured.

Without names: all that share one system, in about five minutes. `soak`, `backlog`, `growth` and `kafka` are
run when they are named, or by `--full`.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.scenarios import (
    backlog,
    batch_fill,
    growth,
    hostile,
    kafka,
    late_binding,
    lone,
    mixed,
    saturation,
    sizes,
    soak,
    watchers,
)
from benchmarks.scenarios.result import Result
from benchmarks.system import System, make_root, running, scratch_home
from tests import broker

SHARED: dict[str, Callable[[System], Awaitable[Result]]] = {
    "lone": lone.run,
    "late_binding": late_binding.run,
    "saturation": saturation.run,
    "mixed": mixed.run,
    "batch_fill": batch_fill.run,
    "sizes": sizes.run,
    "watchers": watchers.run,
    "hostile": hostile.run,
}
OTHERS_S = 3  # how long is looked at what else the machine does: a tail means little beside it
NAME = "scenarios"  # of the saved findings
LONG = ("soak", "backlog", "growth", "kafka")
MODELS = ("lstm64", "echo", "idle", "slow")


def main() -> None:
    """Run the loads and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*SHARED, *LONG)))
    parser.add_argument("--full", action="store_true", help="all of them, and growth to 10 million jobs")
    parser.add_argument("--seconds", type=float, default=soak.SECONDS, help="of the soak")
    parser.add_argument("--docs", action="store_true", help="put the findings into docs/BENCHMARKS.md")
    options = parser.parse_args()
    names = options.names or [*SHARED, *(LONG if options.full else ())]
    if unknown := set(names) - {*SHARED, *LONG}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    rows = [1_000_000, 10_000_000] if options.full else [1_000_000]
    others_percent = psutil.cpu_percent(OTHERS_S)
    print(f"Before the start other programs use {others_percent:.0f} % of the processors.", flush=True)
    results = run(names, seconds=options.seconds, rows=rows)
    table = Table("what", "measured", "wanted", "", title="Satellite's own loads")
    for result in results:
        result.add_to(table)
    Console(width=150, emoji=False).print(table)
    if options.docs:
        save(results)


def save(results: Sequence[Result]) -> None:
    """Put the findings into the document; those of other loads stay. Each says where and when it was run."""
    saved = report.load(report.SAVED, NAME)
    found: dict[str, Any] = saved["data"] if saved else {}
    found |= {result.name: {**result.as_json(), "place": report.here_and_now()} for result in results}
    found = {name: found[name] for name in (*SHARED, *LONG) if name in found}
    sections = [
        report.section(
            result["title"][:1].upper() + result["title"][1:],  # names keep their capitals
            f"`python -m benchmarks.scenarios {name}`. {result['place']}",
            [
                {
                    "what": finding["what"].strip(),
                    "measured": finding["measured"],
                    "wanted": finding["wanted"],
                    "": {True: "met", False: "missed", None: ""}[finding["met"]],
                }
                for finding in result["findings"]
            ],
        )
        for name, result in found.items()
    ]
    report.save(report.SAVED, NAME, title="Satellite's own loads", sections=sections, data=found, place="")
    report.write_document()


def run(names: Sequence[str], *, seconds: float, rows: list[int]) -> list[Result]:
    """Run the loads of these names. Each is told of when it ends.

    Args:
        names: from `SHARED` and `LONG`.
        seconds: how long the soak lasts.
        rows: at how many stored jobs growth is measured.
    """
    results: list[Result] = []

    def add(result: Result) -> None:
        results.append(result)
        for finding in result.findings:
            print(f"{result.name}: {finding.what.strip()}: {finding.measured}", flush=True)

    if any(name in SHARED for name in names):
        with scratch_home() as home, scratch_home() as root:
            make_root(root, MODELS)
            with running(home, root=root) as system:
                for name in names:
                    if name in SHARED:
                        add(uvloop.run(SHARED[name](system)))
    # Those that look at memory start with a system that has done nothing yet.
    for name in names:
        if name == "growth":
            add(growth.run(rows))
        elif name == "kafka":
            with broker.running() as brokers, scratch_home() as home, scratch_home() as root:
                make_root(root, MODELS)
                kafka.make_topics(brokers.bootstrap)
                with running(home, root=root, settings={"SATELLITE_KAFKA_BOOTSTRAP": brokers.bootstrap}):
                    add(uvloop.run(kafka.run(brokers.bootstrap)))
        elif name in LONG:
            with scratch_home() as home, scratch_home() as root:
                make_root(root, MODELS)
                with running(home, root=root) as system:
                    load = soak.run(system, seconds=seconds) if name == "soak" else backlog.run(system)
                    add(uvloop.run(load))
    return results


if __name__ == "__main__":
    main()
