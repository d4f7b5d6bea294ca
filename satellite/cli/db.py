"""`satellite db`: the database's schema, and what it holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
from rich.table import Table
from rich.text import Text

from satellite.cli.console import EXIT_FAILED, console, print_json
from satellite.cli.lifecycle import running_state
from satellite.cli.state import Paths
from satellite.cli.units import megabytes
from satellite.errors import EnvironmentProblem
from satellite.settings import Settings
from satellite.store import migrate
from satellite.store.overview import Overview, overview, schema_state

T = TypeVar("T")

_SCHEMA = {
    "empty": ("no schema yet: `satellite db upgrade` makes it", "yellow"),
    "behind": ("an upgrade is needed: `satellite db upgrade`", "yellow"),
    "current": ("up to date", "green"),
    "ahead": ("newer than this version of Satellite", "red"),
}


def find_database(settings: Settings) -> str:
    """The URL of the database: the one that is set, else the one that `satellite up` runs here.

    Raises:
        EnvironmentProblem: there is neither.
    """
    if settings.database_url:
        return settings.database_url
    state = running_state(Paths(settings.home))
    if state is None or not state.database_url:
        raise EnvironmentProblem(
            f"No database: set SATELLITE_DATABASE_URL, or start the system of {settings.home} with "
            "`satellite up`."
        )
    return state.database_url


def upgrade(settings: Settings, *, as_json: bool = False) -> None:
    """Brings the schema up to date. Does nothing if it is; safe beside ingresses and other upgrades.

    Raises:
        EnvironmentProblem: there is no database, it does not answer, or a newer version has been here.
    """
    url = find_database(settings)
    before = run(url, migrate.current(url))
    state = schema_state(before)
    if state == "ahead":
        raise EnvironmentProblem(
            f"The schema is at {before}, and this version of Satellite knows only {migrate.NEWEST}: use the "
            "newer version, or restore a backup."
        )
    if state == "current":
        now = before
        console.print(f"The schema is up to date: {before}.")
    else:
        run(url, migrate.upgrade(url))
        now = run(url, migrate.current(url))
        console.print(f"[green]Upgraded[/] from {before or 'nothing'} to {now}.")
    if as_json:
        print_json({"database": address(url), "before": before, "revision": now})


def status(settings: Settings, *, as_json: bool) -> int:
    """Prints what the database holds.

    Returns:
        0: the schema is up to date; 1: it is not.
    """
    url = find_database(settings)
    found = run(url, overview(url))
    if as_json:
        document = {"database": address(url), "schema": found.schema, **asdict(found)}
        print(json.dumps(document, indent=1, default=str))
    else:
        console.print(_table(url, found))
    return 0 if found.schema == "current" else EXIT_FAILED


def address(url: str) -> str:
    """A database's URL without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _table(url: str, found: Overview) -> Table:
    words, colour = _SCHEMA[found.schema]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("Database", f"{address(url)}, {megabytes(found.size_bytes)}")
    revision = found.revision or "none"
    newest = "" if found.schema == "current" else f" of {found.newest}"
    table.add_row("Schema", Text.assemble(f"{revision}{newest}, ", (words, colour)))
    for name, days in found.partitions.items():
        table.add_row(
            f"Days of {name}", f"{days.count}, {days.oldest} to {days.newest}, {megabytes(days.size_bytes)}"
        )
    if found.jobs:
        about = "" if found.jobs_exact else "about "
        counts = (
            f"{about if name == 'succeeded' else ''}{count:,} {name}"
            for name, count in found.jobs.items()
            if count
        )
        table.add_row("Jobs", ", ".join(counts) or "none")
    if found.ingresses:
        counts = (f"{count} {name}" for name, count in found.ingresses.items() if count)
        table.add_row("Ingresses", ", ".join(counts) or "none")
    return table


def run(url: str, work: Coroutine[Any, Any, T]) -> T:
    """Do something with a database.

    Raises:
        EnvironmentProblem: it does not answer, or not as it should.
    """
    try:
        return asyncio.run(work)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
        reason = next(iter(str(exc).strip().splitlines()), type(exc).__name__)
        raise EnvironmentProblem(f"The database at {address(url)} does not work: {reason}") from None
