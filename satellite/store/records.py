"""What is written to the job store, one class per kind of write."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from satellite.jobs import Job, JobStatus, Run
from satellite.webhooks.records import JobWebhook


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """A caller's own name for a request: sent twice, it makes one job."""

    key: str
    digest: bytes  # of everything the request asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to insert.

    Attributes:
        job: as it is when it is new.
        input: JSON.
        config: JSON.
        owner: the ingress that holds it from the start; None: it waits in the database.
        idempotency: the caller's key, if there is one.
        webhook: whom to tell of it, if the caller has said so.
    """

    job: Job
    input: str
    config: str
    owner: UUID | None
    idempotency: IdempotencyKey | None = None
    webhook: JobWebhook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """A job with what it was given."""

    job: Job
    input: str  # JSON
    config: str  # JSON
    rank_at: datetime  # its place among those that wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A job that has begun to compute."""

    job_id: UUID
    attempt: int
    owner: UUID
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How an attempt ended its job. Counts only while `(job_id, attempt, owner)` still holds the job."""

    job_id: UUID
    attempt: int
    owner: UUID
    status: JobStatus
    started_at: datetime | None = None
    start_recorded: bool = False  # a `Start` of this attempt was written before
    model_version: str | None = None
    result: str | None = None  # JSON
    error: str | None = None  # JSON
    run: Run = field(default_factory=Run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """How an attempt ended that is followed by another, in the same hands."""

    job_id: UUID
    attempt: int
    owner: UUID
    started_at: datetime | None
    start_recorded: bool
    ended: str  # JSON: `jobs.ended_attempt`
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows; what is None or empty does not matter."""

    model_name: str | None = None
    statuses: tuple[JobStatus, ...] = ()
    labels: tuple[str, ...] = ()  # "key=value"; all of them
    created_after: datetime | None = None
    created_before: datetime | None = None
    parent_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One row of the event log. `position` orders it among all."""

    position: tuple[int, int]
    job_id: UUID
    model_name: str
    status: JobStatus
    attempt: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantEvent(LogEvent):
    """An event with whose job it is of."""

    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderState:
    """A log reader as the database knows it."""

    name: str
    owner: UUID | None  # None: nobody runs it
    renewed_at: datetime
    position: tuple[int, int]
    behind: int  # events after its position, of any kind; counted to 100,000


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultChange:
    """A change of the version that answers where none is named."""

    version: str
    set_at: datetime
    undone_at: datetime | None  # it was rolled back then


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJobs:
    """The jobs of one model that have not ended.

    Attributes:
        queued: those that wait, for their time or for a replica.
        running: those on record as running.
        elsewhere: those that could run and that whoever asks does not hold, by tenant.
        backlog: those of them that nobody holds.
        backlog_since_s: since when the oldest of these could run, seconds since the epoch.
        oldest_wait_s: for how long the oldest that could run has waited; 0 if there is none.
    """

    queued: int = 0
    running: int = 0
    elsewhere: dict[str, int] = field(default_factory=dict[str, int])
    backlog: dict[str, int] = field(default_factory=dict[str, int])
    backlog_since_s: float | None = None
    oldest_wait_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetters:
    """Dead jobs of one model that died of the same error, and that no other job repeats yet."""

    error_code: str
    count: int
    oldest_at: datetime  # when the first of them died
    newest_at: datetime
    example: Job  # the newest of them, without its payloads
