"""What a job is, which states it can be in, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

from satellite.status import JobStatus

DEFAULT_TENANT = "default"
DEFAULT_PRIORITY = 4
MAX_PRIORITY = 9
# Ageing: a step of priority is worth this much waiting. The least urgent job is overtaken by those that come
# within nine steps after it, and by no later one.
PRIORITY_STEP = timedelta(seconds=30)
_EPOCH = datetime.fromtimestamp(0, UTC)

MAX_DETAIL = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a job: its `attempt`-th attempt has come to this status."""

    attempt: int
    status: JobStatus
    at: datetime

    @property
    def order(self) -> tuple[int, int]:
        """Rises with every step of one job, so that what arrives twice or late can be told."""
        return self.attempt, self.status.rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How the attempt that ended a job was computed; None is what is not known, or did not happen."""

    batch_id: UUID | None = None
    batch_size: int | None = None
    flush_reason: str | None = None  # why its batch left the queue: see `FlushReason`
    replica_id: str | None = None
    admission_s: float | None = None  # from the request's arrival until it was committed
    queue_s: float | None = (
        None  # from then (or from when it could run again) until its batch began, less fill_s and load_s
    )
    load_s: float | None = None  # of that time: its version was being loaded
    fill_s: float | None = None  # of that time: a replica was free, and the batch waited for company
    compute_s: float | None = None


class Job(NamedTuple):
    """One job, as of some moment. Times are UTC.

    Made once and changed twice on the way of every job: a frozen dataclass takes five times as long for that.
    """

    job_id: UUID
    tenant: str
    model_name: str
    status: JobStatus
    attempt: int  # 1 for the first run; rises with every further one
    created_at: datetime
    max_attempts: int = 3  # after this many the job is dead
    priority: int = DEFAULT_PRIORITY  # 0 to 9, 9 the most urgent
    run_at: datetime | None = None  # not before this; a retry moves it
    deadline_at: datetime | None = None  # an attempt that has not begun by then never does
    labels: tuple[str, ...] = ()  # "key=value", sorted
    parent_id: UUID | None = None  # the job that this one repeats
    cancel_requested: bool = False
    requested_version: str | None = None  # the version to run; None: the only one that its model has
    model_version: str | None = None  # the version that ran, once it has
    started_at: datetime | None = None  # when its batch began to compute
    finished_at: datetime | None = None
    result: bytes | None = None  # the model's Output, as JSON
    error: bytes | None = None  # {"code", "title", "detail"}, as JSON
    attempts: bytes | None = None  # the attempts that did not end it, as a JSON array; see `ended_attempt`
    run: Run | None = None

    def to_json(self) -> bytes:
        """The wire form of `GET /api/v1/inference/result/{job_id}`."""
        return orjson.dumps(
            {
                "job_id": str(self.job_id),
                "status": self.status,
                "model_name": self.model_name,
                "model_version": self.model_version,
                "result": self.result and orjson.Fragment(self.result),
                "error": self.error and orjson.Fragment(self.error),
                "attempt": self.attempt,
                "created_at": self.created_at,
                "started_at": self.started_at,
                "finished_at": self.finished_at,
            },
            option=orjson.OPT_UTC_Z,
        )

    def steps(self) -> list[Step]:
        """All that has happened to it, in order: for each attempt queued, running, and at last its end."""
        steps: list[Step] = []
        queued_at = self.created_at
        for ended in past_attempts(self):
            number = ended["attempt"]
            steps.append(Step(attempt=number, status=JobStatus.QUEUED, at=queued_at))
            if ended["started_at"]:
                started_at = datetime.fromisoformat(ended["started_at"])
                steps.append(Step(attempt=number, status=JobStatus.RUNNING, at=started_at))
            queued_at = datetime.fromisoformat(ended["ended_at"])
        steps.append(Step(attempt=self.attempt, status=JobStatus.QUEUED, at=queued_at))
        if self.started_at is not None:
            steps.append(Step(attempt=self.attempt, status=JobStatus.RUNNING, at=self.started_at))
        if self.finished_at is not None:
            steps.append(Step(attempt=self.attempt, status=self.status, at=self.finished_at))
        return steps


def past_attempts(job: Job) -> list[dict[str, Any]]:
    """The attempts that ended without ending the job, oldest first; the form is `ended_attempt`'s."""
    return orjson.loads(job.attempts) if job.attempts else []


def public_attempts(job: Job) -> list[dict[str, Any]]:
    """The attempts that ended without ending the job, as callers see them: without whose lease it was."""
    return [{key: past[key] for key in past if key != "owner"} for past in past_attempts(job)]


def ended_attempt(
    job: Job, *, owner: UUID, ended_at: datetime, code: str, detail: str, replica_id: str | None
) -> bytes:
    """The record of an attempt that is followed by another, as JSON."""
    return orjson.dumps(
        {
            "attempt": job.attempt,
            "owner": str(owner),
            "started_at": job.started_at,
            "ended_at": ended_at,
            "code": code,
            "detail": storable(detail),
            "replica_id": replica_id,
        }
    )


def storable(text: str) -> str:
    """A text of others in a form that JSON and PostgreSQL can hold, and no longer than anybody reads."""
    return text[:MAX_DETAIL].encode("utf-8", "replace").decode().replace("\x00", "")


def labels_to_dict(labels: tuple[str, ...]) -> dict[str, str]:
    """Labels in wire form."""
    return dict(label.split("=", 1) for label in labels)


def new_job_id() -> tuple[UUID, datetime]:
    """A UUIDv7 and the moment it carries (millisecond precision): a job's id and its `created_at`."""
    job_id = uuid7()
    return job_id, datetime.fromtimestamp((job_id.int >> 80) / 1000, UTC)


def first_id_at(moment: datetime) -> UUID:
    """The smallest id that a job created at this moment or later can have: times become ranges of ids."""
    ms = -((_EPOCH - moment) // timedelta(milliseconds=1))  # rounded up
    return UUID(int=max(ms, 0) << 80)
