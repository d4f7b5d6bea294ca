"""The other half of the evidence: what the database holds and went through, and what the probe really ran.

Rows alone show how a job ended, not what happened to it before. So a trigger of the test's own writes down
every change of a job's state, owner and attempt, whoever makes it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

TERMINAL = frozenset({"succeeded", "failed", "cancelled", "expired", "dead"})
RANKS = {"queued": 0, "running": 1} | dict.fromkeys(TERMINAL, 2)

AUDIT = """
CREATE TABLE IF NOT EXISTS faults_audit (
    seq bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), job_id uuid NOT NULL,
    old_status text NOT NULL, status text NOT NULL, old_attempt int NOT NULL, attempt int NOT NULL,
    old_owner uuid, owner uuid);
CREATE INDEX IF NOT EXISTS faults_audit_job ON faults_audit (job_id);
CREATE OR REPLACE FUNCTION faults_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO faults_audit (job_id, old_status, status, old_attempt, attempt, old_owner, owner)
    VALUES (NEW.id, OLD.status, NEW.status, OLD.attempt, NEW.attempt, OLD.owner, NEW.owner);
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER faults_audit AFTER UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION faults_audit();
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A row of `jobs` at the end. Times are seconds since the epoch."""

    job_id: str
    status: str
    attempt: int
    max_attempts: int
    created_at_s: float
    nonce: str | None = None  # of its input
    op: str = "echo"
    result_nonce: str | None = None
    error_code: str | None = None
    owner: str | None = None
    model_name: str = "probe"
    model_version: str | None = None
    batch_id: str | None = None
    batch_size: int | None = None
    started_at_s: float | None = None
    finished_at_s: float | None = None
    run_at_s: float | None = None
    rank_at_s: float | None = None
    deadline_at_s: float | None = None
    priority: int | None = None

    @property
    def due_at_s(self) -> float:
        # A caller may ask for a time that has passed when the job is accepted.
        return max(self.created_at_s, self.run_at_s or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change of a row of `jobs`, as the trigger saw it."""

    job_id: str
    at_s: float
    old_status: str
    status: str
    old_attempt: int = 1
    attempt: int = 1
    old_owner: str | None = None
    owner: str | None = None

    @property
    def ends(self) -> bool:
        return self.status in TERMINAL

    @property
    def taken(self) -> bool:
        """It was taken from its owner, or given back by it."""
        return self.old_owner is not None and self.owner != self.old_owner


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """A row of `events`."""

    job_id: str
    model_name: str
    status: str
    attempt: int
    xid: int
    seq: int

    @property
    def order(self) -> tuple[int, int]:
        return self.attempt, RANKS[self.status]

    @property
    def stream_id(self) -> str:
        """Its id in the stream of a model."""
        return f"{self.xid}-{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A row of `idempotency_keys`."""

    key: str
    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRun:
    """A line of the probe's log: it was loaded, closed, or began to compute a batch."""

    kind: str  # "load", "batch" or "close"
    at_s: float
    pid: int
    instance: str
    version: str = "1.0.0"
    nonces: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of a log such as Kafka, and whether its offset was committed."""

    partition: int
    offset: int
    key: str
    committed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSeen:
    """A job's end as it left through Kafka."""

    job_id: str
    status: str
    nonce: str | None  # of its result


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the system under test can do. The checks of what it cannot do have nothing to look at."""

    keys: bool = False
    options: bool = False  # priority, deadline_s, run_at, labels
    cancel: bool = False
    batch: bool = False
    sse: bool = False
    event_ids: bool = False

    @property
    def missing(self) -> list[str]:
        return [name for name in self.__slots__ if not getattr(self, name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything the checker judges, beside the history."""

    taken_at_s: float
    jobs: list[JobRow] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)  # in the order in which they were written
    events: list[EventRow] = field(default_factory=list)
    keys: list[KeyRow] = field(default_factory=list)
    runs: list[ProbeRun] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    results: list[ResultSeen] | None = None  # None: nothing leaves through Kafka
    heartbeats: dict[str, float] = field(default_factory=dict)  # owner -> the last one seen
    outage_s: float = 0.0  # for how long the database was away


async def change_schema(db: asyncpg.Connection, statements: str) -> None:
    """Change the schema under a running system, whose statements may take the same locks in another order."""
    while True:
        try:
            async with db.transaction():
                await db.execute(statements)
            return
        except asyncpg.DeadlockDetectedError:
            await asyncio.sleep(0.1)


async def find_features(db: asyncpg.Connection, paths: set[str]) -> Features:
    """What the database's schema and the API's paths say."""
    columns = {
        (row["table_name"], row["column_name"])
        for row in await db.fetch(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        )
    }
    tables = {table for table, _ in columns}
    return Features(
        keys="idempotency_keys" in tables,
        options=("jobs", "rank_at") in columns,
        cancel=any(path.endswith("/cancel") for path in paths),
        batch="/api/v1/inference/batch" in paths,
        sse="/api/v1/events" in paths,
        event_ids=("events", "xid") in columns,
    )


async def read_jobs(db: asyncpg.Connection, since_s: float, model_name: str = "probe") -> list[JobRow]:
    """The jobs created since then."""
    rows = await db.fetch(
        "SELECT * FROM jobs WHERE model_name = $1 AND created_at >= to_timestamp($2)", model_name, since_s
    )
    return [_job_row(dict(row)) for row in rows]


async def collect(
    db: asyncpg.Connection, since_s: float, features: Features, model_name: str = "probe", **more: Any
) -> Evidence:
    """Read the tables.

    Args:
        db: a connection to the system's database.
        since_s: what is older belongs to others.
        features: which tables there are.
        model_name: whose jobs.
        more: the rest of the evidence.
    """
    jobs = await read_jobs(db, since_s, model_name)
    ids = [job.job_id for job in jobs]
    transitions = await db.fetch(
        "SELECT * FROM faults_audit WHERE job_id = ANY($1::uuid[]) ORDER BY seq", ids
    )
    events, keys = [], []
    if features.event_ids:
        events = await db.fetch(
            """SELECT xid::text AS xid, seq, job_id, model_name, status::text, attempt FROM events
               WHERE job_id = ANY($1::uuid[])""",
            ids,
        )
    if features.keys:
        keys = await db.fetch("SELECT key, job_id FROM idempotency_keys WHERE job_id = ANY($1::uuid[])", ids)
    return Evidence(
        taken_at_s=await db.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"),
        jobs=jobs,
        transitions=[_transition(dict(row)) for row in transitions],
        events=[
            EventRow(**(dict(row) | {"xid": int(row["xid"]), "job_id": str(row["job_id"])})) for row in events
        ],
        keys=[KeyRow(key=row["key"], job_id=str(row["job_id"])) for row in keys],
        **more,
    )


def read_runs(path: Path, since_s: float) -> list[ProbeRun]:
    """The probe's log since then."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [
        ProbeRun(**{name: tuple(value) if isinstance(value, list) else value for name, value in line.items()})
        for line in lines
        if line["at_s"] >= since_s
    ]


def _job_row(row: dict[str, Any]) -> JobRow:
    given, result, error = (_parse(row[name]) for name in ("input", "result", "error"))
    return JobRow(
        job_id=str(row["id"]),
        status=row["status"],
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        created_at_s=row["created_at"].timestamp(),
        nonce=_nonce(given),
        op=given.get("op", "echo") if isinstance(given, dict) else "echo",
        result_nonce=_nonce(result),
        error_code=error.get("code") if error else None,
        owner=_text(row["owner"]),
        model_name=row["model_name"],
        model_version=row["model_version"],
        batch_id=_text(row["batch_id"]),
        batch_size=row["batch_size"],
        started_at_s=_seconds(row["started_at"]),
        finished_at_s=_seconds(row["finished_at"]),
        run_at_s=_seconds(row.get("run_at")),
        rank_at_s=_seconds(row.get("rank_at")),
        deadline_at_s=_seconds(row.get("deadline_at")),
        priority=row.get("priority"),
    )


def _transition(row: dict[str, Any]) -> Transition:
    del row["seq"]
    row["at_s"] = row.pop("at").timestamp()
    row |= {name: _text(row[name]) for name in ("job_id", "old_owner", "owner")}
    return Transition(**row)


def _parse(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _nonce(payload: Any) -> str | None:
    """Of the probe the nonce itself; of a constant series its value, which a moving average gives back."""
    match payload:
        case {"nonce": str(nonce)}:
            return nonce
        case [value, *_] | {"forecast": [value, *_]}:
            return str(value)
        case _:
            return None


def _seconds(at: Any) -> float | None:
    return None if at is None else at.timestamp()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
