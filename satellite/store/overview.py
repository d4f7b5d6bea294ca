"""What the database holds, for `satellite db status`: read over one connection, changing nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import asyncpg

from satellite.jobs import JobStatus
from satellite.lease import LEASE_S
from satellite.store import migrate, queries

CONNECT_TIMEOUT_S = 5
# Larger tables are not read for an exact count.
EXACT_BYTES = 256 * 1024 * 1024

SchemaState = Literal["empty", "behind", "current", "ahead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitions:
    """The partitions of one table, one a day. They are made a week ahead: `newest` lies in the future."""

    count: int
    oldest: date
    newest: date
    size_bytes: int  # with indexes


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The state of a database. What an older schema does not have is empty.

    Attributes:
        revision: of the schema; None if there is none.
        newest: the newest revision that this version of Satellite knows.
        partitions: by table, `jobs` and `events`.
        jobs: how many, by status.
        jobs_exact: False if the number of succeeded jobs is PostgreSQL's estimate.
        ingresses: `live`; `silent`, whose lease is over and which nobody has declared lost yet; and `lost`,
            which stopped or were, and are forgotten after a day.
        size_bytes: of the whole database.
    """

    revision: str | None
    newest: str
    partitions: dict[str, Partitions]
    jobs: dict[str, int]
    jobs_exact: bool
    ingresses: dict[str, int]
    size_bytes: int

    @property
    def schema(self) -> SchemaState:
        """How the schema compares with what this version of Satellite needs."""
        return schema_state(self.revision, self.newest)


def schema_state(revision: str | None, newest: str = migrate.NEWEST) -> SchemaState:
    """How a schema's revision compares with the newest one known here. Revisions are ordered as texts."""
    if revision is None:
        return "empty"
    return "current" if revision == newest else "behind" if revision < newest else "ahead"


async def overview(database_url: str) -> Overview:
    """Read the state of a database."""
    revision = await migrate.current(database_url)
    connection = await asyncpg.connect(database_url, timeout=CONNECT_TIMEOUT_S, command_timeout=60)
    try:
        tables: dict[str, Any] = {
            row["parent"]: row for row in await connection.fetch(queries.DESCRIBE_TABLES)
        }
        jobs: dict[str, int] = {}
        exact = True
        if "jobs" in tables:
            exact = tables["jobs"]["heap_bytes"] <= EXACT_BYTES
            rows = await connection.fetch(queries.COUNT_JOBS if exact else queries.COUNT_FEW_JOBS)
            found = {row["status"]: row["count"] for row in rows}
            if not exact:
                found[JobStatus.SUCCEEDED] = max(0, tables["jobs"]["row_count"] - sum(found.values()))
            jobs = {status.value: found.get(status, 0) for status in JobStatus}
        ingresses: dict[str, int] = {}
        if schema_state(revision) == "current":
            ingresses = dict((await connection.fetch(queries.COUNT_INGRESSES, LEASE_S))[0])
        return Overview(
            revision=revision,
            newest=migrate.NEWEST,
            partitions={name: _partitions(tables[name]) for name in ("jobs", "events") if name in tables},
            jobs=jobs,
            jobs_exact=exact,
            ingresses=ingresses,
            size_bytes=await connection.fetchval(queries.DATABASE_SIZE),
        )
    finally:
        await connection.close()


def _partitions(row: Any) -> Partitions:
    oldest, newest = (datetime.strptime(row[name], "%Y%m%d").date() for name in ("oldest", "newest"))
    return Partitions(count=row["partitions"], oldest=oldest, newest=newest, size_bytes=row["size_bytes"])
