"""`python -m tests.faults`: all scenarios on a system of their own, and a table of what became of them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests import broker
from tests.faults.run import Report, add_probe, prepare, run_scenario
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.system import System, running

SHOWN = 10  # violations of one scenario

console = Console(width=None if sys.stdout.isatty() else 130, emoji=False)


def main() -> int:
    """Run the scenarios; the exit code is 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", help="which scenarios; all, if none is named")
    parser.add_argument("--seed", type=int, default=1, help="of the loads and of the choice of victims")
    parser.add_argument("--list", action="store_true", help="say what there is")
    arguments = parser.parse_args()
    known = {scenario.name: scenario for scenario in SCENARIOS}
    if unknown := set(arguments.names) - set(known):
        parser.error(f"there is no {', '.join(sorted(unknown))}; --list says what there is")
    if arguments.list:
        for scenario in SCENARIOS:
            console.print(f"{scenario.name:30}{scenario.about}")
        return 0
    chosen = [known[name] for name in arguments.names] or list(SCENARIOS)
    with contextlib.ExitStack() as stack:
        return _run(chosen, arguments.seed, _broker(stack))


def _broker(stack: contextlib.ExitStack) -> broker.Broker | None:
    try:
        return stack.enter_context(broker.running())
    except broker.BrokerUnavailable as error:
        if os.environ.get("CI"):
            raise
        console.print(f"[yellow]Without Kafka:[/] {escape(str(error))}")
        return None


def _run(chosen: list[Scenario], seed: int, kafka: broker.Broker | None) -> int:
    if kafka is None:
        chosen = [scenario for scenario in chosen if not scenario.needs_kafka]
    # Whoever ends this run ends the system too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with running(_without_big_models, kafka=kafka) as system:
        reports = asyncio.run(_run_all(system, chosen, seed))
    console.print(table_of(reports, seed))
    return 0 if all(report.ok for report in reports) else 1


def _without_big_models(system: System) -> None:
    """The probe is what is looked at; a model with weights would only cost memory."""
    add_probe(system)
    for folder, suffix in (("models", "py"), ("configs/models", "yaml")):
        (system.root / folder / f"lstm_timeseries.{suffix}").unlink(missing_ok=True)


async def _run_all(system: System, scenarios: list[Scenario], seed: int) -> list[Report]:
    features = await prepare(system)
    if features.missing:
        console.print(f"Not in this build, so not tested: {', '.join(features.missing)}.")
    reports = []
    for scenario in scenarios:
        began = time.monotonic()
        report = await run_scenario(system, scenario, features, seed=seed)
        reports.append(report)
        word = "[green]ok[/]" if report.ok else "[red]FAILED[/]"
        console.print(f"{scenario.name}: {word} after {time.monotonic() - began:.0f} s ({scenario.about})")
        tell_failure(report)
    return reports


def tell_failure(report: Report) -> None:
    """Say what was violated, and keep the history."""
    if report.ok:
        return
    for line in [*report.failures, *map(str, report.violations[:SHOWN])]:
        console.print(f"  {escape(line)}")
    if len(report.violations) > SHOWN:
        console.print(f"  and {len(report.violations) - SHOWN} more violations")
    path = Path(tempfile.mkdtemp(prefix="faults-")) / f"{report.scenario.name}.jsonl"
    report.history.write(path)
    console.print(f"  the clients' history: {path}")


def table_of(reports: list[Report], seed: int) -> Table:
    """One line per scenario."""
    table = Table(title=f"Faults, seed {seed}")
    table.add_column("scenario")
    for name in (
        "accepted",
        "refused",
        "unknown",
        "hit",
        "lost",
        "twice",
        "violations",
        "new work",
        "old work",
    ):
        table.add_column(name, justify="right")
    table.add_column("")
    for report in reports:
        answers = (report.accepted, report.refused, report.unknown, report.again)
        numbers = (*answers, len(report.lost), len(report.twice), len(report.violations))
        table.add_row(
            report.scenario.name,
            *map(str, numbers),
            _seconds(report.new_work_s),
            _seconds(report.old_work_s),
            "[green]ok[/]" if report.ok else "[red]FAILED[/]",
        )
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
