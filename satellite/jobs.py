"""What a job is, and which states it can be in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

import orjson
from uuid_utils.compat import uuid7

DEFAULT_TENANT = "default"


class JobStatus(StrEnum):
    """The states of a job. The allowed steps between them are enforced in SQL (`migrations/versions`)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEAD = "dead"

    @property
    def is_terminal(self) -> bool:
        """Whether no step leads out of this state."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)

    @property
    def rank(self) -> int:
        """0, 1, 2: within one attempt a job's rank only rises."""
        return 2 if self.is_terminal else int(self is JobStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job, as of some moment. Times are UTC."""

    job_id: UUID
    tenant: str
    model_name: str
    status: JobStatus
    attempt: int  # 1 for the first run; rises with every further one
    max_attempts: int = 3  # after this many the job is dead
    created_at: datetime
    model_version: str | None = None  # the version that ran, once it has
    started_at: datetime | None = None  # when its batch began to compute
    finished_at: datetime | None = None
    result: bytes | None = None  # the model's Output, as JSON
    error: bytes | None = None  # {"code", "title", "detail"}, as JSON

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


def new_job_id() -> tuple[UUID, datetime]:
    """A UUIDv7 and the moment it carries (millisecond precision): a job's id and its `created_at`."""
    job_id = uuid7()
    return job_id, datetime.fromtimestamp((job_id.int >> 80) / 1000, UTC)
