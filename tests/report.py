"""`python -m tests.report FILE.xml ...`: docs/TEST_RESULTS.md out of the junit files of one run of the tests.

`make report` runs the tests and writes it; a run that took several pytests left several files. Nothing is in
it but what pytest and tests/recording.py wrote down. Exit code 1: a test failed, or the run ended early.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.report import section
from satellite.settings import REPO_ROOT

DOCUMENT = REPO_ROOT / "docs/TEST_RESULTS.md"
SLOWEST = 15
LINE = 200  # characters of a failure's first line
WORSE_THAN_PASSED = ("error", "failure", "skipped")
RESULT_OF = {"error": "failed", "failure": "failed", "skipped": "skipped"}

HEAD = """# Test results

One run of the tests, as pytest recorded it. Written by `make report`; edit `tests/report.py`, not this
file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test and what became of it."""

    file: str
    name: str
    seconds: float
    result: str  # passed, failed or skipped
    why: str = ""  # it was skipped or has failed

    @property
    def folder(self) -> str:
        """Where its file lies."""
        return str(Path(self.file).parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one or several pytests did, one after the other."""

    began_at: datetime
    seconds: float
    facts: dict[str, str]  # of the last of them
    tests: list[Test]
    partial: str  # what is missing; empty: nothing
    early: bool


def read(files: list[Path]) -> Run:
    """The run that left these junit files.

    Raises:
        SystemExit: there are none, or they are of runs of different commits or machines.
    """
    there = [file for file in files if file.exists()]
    suites = [suite for file in there for suite in ElementTree.parse(file).iter("testsuite")]
    told = [{p.get("name", ""): p.get("value", "") for p in suite.iter("property")} for suite in suites]
    if not told or not all("commit" in facts for facts in told):
        sys.exit("error: no junit file of these tests was given: see `make report`.")
    if len({(facts["commit"], facts["machine"]) for facts in told}) > 1:
        sys.exit("error: the files are of runs of different commits or machines.")
    began_at = min(datetime.fromisoformat(suite.get("timestamp", "")) for suite in suites)
    return Run(
        began_at=began_at.astimezone(UTC),
        seconds=sum(float(suite.get("time", 0)) for suite in suites),
        facts=told[-1],
        tests=[_test(case) for suite in suites for case in suite.iter("testcase")],
        partial=_missing(told),
        early=any(facts["ended early"] for facts in told),
    )


def _missing(told: list[dict[str, str]]) -> str:
    paths = {path for facts in told for path in facts["paths"].split()}
    missing = [path for path in told[-1]["all paths"].split() if not paths & {path, str(Path(path).parent)}]
    options = {option for facts in told for option in facts["left out by"].split()}
    parts = []
    if missing:
        parts.append(f"Run was {', '.join(f'`{path}`' for path in sorted(paths))}, and nothing else.")
    if options:
        parts.append(f"Tests were left out by options of pytest ({', '.join(sorted(options))}).")
    if any(facts["ended early"] for facts in told):
        parts.append("It ended before all tests had run.")
    return " ".join(parts)


def _test(case: ElementTree.Element) -> Test:
    # tests.unit.test_jobs, or with a class behind it.
    *folders, last = case.get("classname", "").split(".")
    while folders and not last.startswith("test_"):
        *folders, last = folders
    found = next((child for tag in WORSE_THAN_PASSED for child in case.iter(tag)), None)
    why = "" if found is None else (found.get("message") or found.text or "").strip()
    return Test(
        file="/".join([*folders, f"{last}.py"]),
        name=case.get("name", ""),
        seconds=float(case.get("time", 0)),
        result="passed" if found is None else RESULT_OF[found.tag],
        why=(why.splitlines() or [""])[0][:LINE].replace(str(REPO_ROOT), "."),
    )


def document(run: Run) -> str:
    """The report."""
    counts = Counter(test.result for test in run.tests)
    failed = [test for test in run.tests if test.result == "failed"]
    skipped = Counter(test.why for test in run.tests if test.result == "skipped")
    blocks = [HEAD]
    if run.partial:
        blocks.append(f"**This is a partial run.** {run.partial}")
    passed = f"{counts['passed']:,} passed"
    blocks.append(f"**{counts['failed']:,} failed**, {passed}." if failed else f"**{passed}**, none failed.")
    if skipped:
        blocks[-1] += f" {counts['skipped']:,} were skipped."
    versions = ("Ray", "PostgreSQL", "Redis", "Kafka")
    facts = {
        "began": f"{run.began_at:%Y-%m-%d %H:%M} UTC",
        "took": duration(run.seconds),
        "commit": run.facts["commit"] or "unknown",
        "machine": run.facts["machine"],
        "against": ", ".join(f"{name} {run.facts[name] or '(none)'}" for name in versions),
    }
    blocks.append(
        section("The run", "", [{"": name, " ": value} for name, value in facts.items()]).markdown()
    )
    for title, text, rows in (
        ("What failed", "", [{"test": f"`{_id(test)}`", "why": test.why} for test in failed]),
        ("What was skipped", "", [{"tests": str(n), "why": why} for why, n in skipped.most_common()]),
        ("By file", "What tests share counts for the first that needs it.", _by_file(run.tests)),
        ("The slowest", "", [
            {"s": f"{test.seconds:.1f}", "test": f"`{_id(test)}`"}
            for test in sorted(run.tests, key=lambda test: -test.seconds)[:SLOWEST]
        ]),
    ):  # fmt: skip
        if rows:
            blocks.append(section(title, text, rows).markdown())
    return "\n\n".join(blocks).replace("### ", "## ") + "\n"


def _by_file(tests: list[Test]) -> list[dict[str, str]]:
    """A row for all, each folder and each of its files."""
    rows = [_row("**all**", tests)]
    for folder in dict.fromkeys(test.folder for test in tests):
        here = [test for test in tests if test.folder == folder]
        rows.append(_row(f"**{folder}**", here))
        for file in sorted({test.file for test in here}):
            rows.append(_row(Path(file).name, [test for test in here if test.file == file]))
    return rows


def _row(name: str, tests: list[Test]) -> dict[str, str]:
    counts = Counter(test.result for test in tests)
    shown = {result: str(counts[result] or "") for result in ("failed", "skipped")}
    seconds = sum(test.seconds for test in tests)
    return {"": name, "tests": f"{len(tests):,}", **shown, "s": f"{seconds:,.1f}"}


def _id(test: Test) -> str:
    return f"{test.file}::{test.name}".replace("`", "'")


def duration(seconds: float) -> str:
    """For people."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def main() -> None:
    """Write the report and say how the run went."""
    parser = argparse.ArgumentParser(prog="tests.report", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.xml", help="what --junitxml wrote")
    parser.add_argument("--to", type=Path, default=DOCUMENT, help="where it goes instead")
    arguments = parser.parse_args()
    run = read(arguments.files)
    arguments.to.write_text(document(run), encoding="utf-8")
    failed = sum(test.result == "failed" for test in run.tests)
    print(f"{arguments.to}: {len(run.tests)} tests, {failed} failed{', partial' if run.partial else ''}.")
    sys.exit(bool(failed or run.early))


if __name__ == "__main__":
    main()
