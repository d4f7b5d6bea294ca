"""`python -m benchmarks`: Satellite and its peers on this machine, one after the other, in one table."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from functools import partial

from rich.console import Console

from benchmarks import comparison, lstm64, report
from benchmarks.compare import FULL, QUICK, SUBJECTS, USUAL, compare
from satellite.settings import REPO_ROOT

UNPUBLISHED = REPO_ROOT / "bench-results"
IMAGES = report.DOCUMENT.parent / "images"


def main() -> None:
    """Measure, print, save."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: what was started is stopped
    arguments = parse()
    console = Console(width=180, emoji=False, highlight=False)
    console.print(f"{report.machine()}, shared with the load")
    plan = FULL if arguments.full else QUICK if arguments.quick else USUAL
    if arguments.passes is not None:
        plan = replace(plan, passes=arguments.passes)
    expected = lstm64.load()([lstm64.SERIES])[0]
    measured = compare(arguments.only, plan, expected, partial(console.print, markup=False))
    folder = report.SAVED if arguments.docs else UNPUBLISHED
    # Subjects that were left out keep the rows of an earlier run.
    rows = {**comparison.load_rows(folder), **measured}
    for part in comparison.save_rows(folder, rows, IMAGES if arguments.docs else None):
        console.print(part.table())
    if arguments.docs:
        report.write_document()
    console.print(f"Saved in {os.path.relpath(folder)}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="one short round: does all of it run?")
    size.add_argument("--full", action="store_true", help="three passes with larger loads; about an hour")
    parser.add_argument(
        "--only", type=_names, default=list(SUBJECTS), help=f"of {', '.join(SUBJECTS)}; separated by commas"
    )
    parser.add_argument(
        "--passes", type=int, help="over all subjects in turn, which evens out the machine's moods"
    )
    parser.add_argument("--docs", action="store_true", help="publish: write docs/BENCHMARKS.md and its plots")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - set(SUBJECTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    main()
