"""The states of a job. A module of its own, as the client knows them too and needs nothing else for it."""

from __future__ import annotations

from enum import StrEnum


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
