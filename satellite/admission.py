"""Makes a job of what a caller asks for: checked against its model, with its version and its times."""

from __future__ import annotations

from datetime import timedelta

from satellite.catalog import Catalog, ValidRequest
from satellite.jobs import Job, JobStatus, new_job_id
from satellite.releases import Releases
from satellite.submission import Submission


async def make_job(
    submission: Submission, tenant: str, catalog: Catalog, releases: Releases
) -> tuple[Job, ValidRequest[str]]:
    """A job of a tenant that can be stored, and the request in the form in which it is.

    Raises:
        ModelNotFound, VersionNotFound, InvalidRequest: there is nothing to store.
        Unavailable: which versions the model has is not known now.
    """
    entry = catalog.find(submission.model_name)
    version = await releases.choose(submission.model_name, submission.model_version)
    job_id, created_at = new_job_id()
    request = entry.validate(submission.data, submission.config)
    run_at, deadline_s = submission.run_at, submission.deadline_s
    job = Job(
        job_id=job_id,
        tenant=tenant,
        model_name=submission.model_name,
        status=JobStatus.QUEUED,
        attempt=1,
        max_attempts=submission.max_attempts or entry.config.max_attempts,
        created_at=created_at,
        priority=submission.priority,
        # One that has passed means now: a rank counted from the past would put the job before all.
        run_at=None if run_at is None else max(run_at, created_at),
        deadline_at=None if deadline_s is None else created_at + timedelta(seconds=deadline_s),
        labels=submission.labels,
        parent_id=submission.parent_id,
        requested_version=version,
    )
    return job, request
