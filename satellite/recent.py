"""The jobs that ended here last: most results are asked for where they were recorded, soon after."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from uuid import UUID

from satellite.jobs import Job

MAX_BYTES = 32 * 1024 * 1024
# What a job takes besides its result.
_JOB_BYTES = 2048


class RecentJobs:
    """A bounded memory.

    Args:
        max_age_s: how long a job is answered from here, at most.
        max_bytes: of all of them; beyond that the oldest go.
    """

    def __init__(self, *, max_age_s: float, max_bytes: int = MAX_BYTES) -> None:
        self.size_bytes = 0
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._jobs: OrderedDict[UUID, Job] = OrderedDict()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Remember a job that has ended."""
        self.forget(job.job_id)
        self._jobs[job.job_id] = job
        self.size_bytes += _bytes(job)
        while self.size_bytes > self._max_bytes:
            self.size_bytes -= _bytes(self._jobs.popitem(last=False)[1])

    def find(self, job_id: UUID) -> Job | None:
        """The job, if it ended here a short while ago."""
        job = self._jobs.get(job_id)
        if job is None or job.finished_at is None:
            return None
        if (datetime.now(UTC) - job.finished_at).total_seconds() > self._max_age_s:
            self.forget(job_id)
            return None
        return job

    def forget(self, job_id: UUID) -> None:
        """It was deleted."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self.size_bytes -= _bytes(job)

    def clear(self) -> None:
        """Forget all of them."""
        self._jobs.clear()
        self.size_bytes = 0


def _bytes(job: Job) -> int:
    return _JOB_BYTES + len(job.result or b"") + len(job.error or b"") + len(job.attempts or b"")
