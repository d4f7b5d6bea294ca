from datetime import UTC, datetime, timedelta

import pytest

from satellite.jobs import Job, JobStatus, new_job_id
from satellite.recent import RecentJobs


def ended(*, ago_s=0.0, result=b"{}"):
    job_id, created_at = new_job_id()
    return Job(
        job_id=job_id,
        tenant="default",
        model_name="m",
        status=JobStatus.SUCCEEDED,
        attempt=1,
        created_at=created_at,
        finished_at=datetime.now(UTC) - timedelta(seconds=ago_s),
        result=result,
    )


def test_what_has_just_ended_is_found():
    recent, job = RecentJobs(max_age_s=60), ended()
    recent.add(job)
    assert recent.find(job.job_id) is job
    assert recent.find(ended().job_id) is None


def test_what_is_too_old_is_not():
    recent, job = RecentJobs(max_age_s=60), ended(ago_s=61)
    recent.add(job)
    assert recent.find(job.job_id) is None
    assert (len(recent), recent.size_bytes) == (0, 0)


@pytest.mark.parametrize("size", [0, 10_000])
def test_the_oldest_go_when_the_memory_is_full(size):
    recent = RecentJobs(max_age_s=60, max_bytes=50_000)
    jobs = [ended(result=b"x" * size) for _ in range(30)]
    for job in jobs:
        recent.add(job)
        assert recent.size_bytes <= 50_000
    kept = [job for job in jobs if recent.find(job.job_id)]
    assert kept == jobs[-len(recent) :]
    assert len(recent) == 50_000 // (2048 + size)


def test_one_that_is_larger_than_the_memory_is_not_kept():
    recent = RecentJobs(max_age_s=60, max_bytes=50_000)
    recent.add(ended(result=b"x" * 60_000))
    assert (len(recent), recent.size_bytes) == (0, 0)


def test_forgetting():
    recent, job = RecentJobs(max_age_s=60), ended()
    recent.add(job)
    recent.add(job)
    assert len(recent) == 1
    recent.forget(job.job_id)
    recent.forget(job.job_id)
    assert (recent.find(job.job_id), recent.size_bytes) == (None, 0)
