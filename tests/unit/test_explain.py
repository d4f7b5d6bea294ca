"""Where the time of a job went, and how that is put into words."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest

from satellite.batching import FlushReason
from satellite.config import Batching, ModelConfig
from satellite.explain import explain, parts
from satellite.jobs import Job, JobStatus, Run, ended_attempt, new_job_id

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
CONFIG = ModelConfig(batching=Batching(max_batch_size=8, batch_wait_timeout_s=2))


def at(seconds):
    return START + timedelta(seconds=seconds)


def job_of(status=JobStatus.SUCCEEDED, *, ended_s=10.0, **changes):
    fields = {
        "job_id": new_job_id()[0],
        "tenant": "default",
        "model_name": "m",
        "status": status,
        "attempt": 1,
        "created_at": START,
        "run_at": START,
        "started_at": at(4),
        "finished_at": at(ended_s) if status.is_terminal else None,
    }
    return Job(**(fields | changes))


def run_of(**changes):
    fields = {"batch_id": uuid4(), "batch_size": 3, "flush_reason": "timer", "replica_id": "r"}
    return Run(**(fields | {"admission_s": 0.5, "queue_s": 2.5, "fill_s": 1.0, "compute_s": 5.0} | changes))


def test_each_part_is_what_was_measured_and_the_rest_is_recording():
    found = parts(job_of(run=run_of()), at(99))
    assert found == {
        "admission": 0.5,
        "delay": 0.0,
        "queue": 2.5,
        "batch_fill": 1.0,
        "compute": 5.0,
        "recording": 1.0,
    }


def test_a_delay_is_a_delay_and_an_earlier_attempt_is_none():
    job = job_of(run_at=at(3), run=run_of(queue_s=0.0, compute_s=4.0))
    assert parts(job, at(99))["delay"] == 2.5  # less the admission, which lies within it
    retried = job_of(attempt=2, run_at=at(3), run=run_of(admission_s=None, queue_s=0.0, compute_s=4.0))
    assert parts(retried, at(99))["earlier_attempts"] == 3.0
    assert "delay" not in parts(retried, at(99))


@pytest.mark.parametrize(
    "job",
    [
        job_of(run=run_of()),
        job_of(run=run_of(queue_s=1e9)),  # clocks that differ cannot make more of it than there was
        job_of(run=run_of(compute_s=-1.0)),
        job_of(run=None),
        job_of(run=Run()),
        job_of(ended_s=0, run=run_of()),
        job_of(ended_s=-1, run=run_of()),
        job_of(JobStatus.EXPIRED, run_at=at(60), started_at=None, run=Run()),
        job_of(JobStatus.CANCELLED, run_at=None, started_at=None, run=Run(admission_s=0.1)),
        job_of(JobStatus.DEAD, attempt=3, run_at=at(5), run=Run(flush_reason="full", fill_s=0.0)),
        job_of(JobStatus.QUEUED, started_at=None, run=Run()),
        job_of(JobStatus.RUNNING, run=Run()),
    ],
)
def test_the_parts_sum_to_the_whole_and_none_is_negative(job):
    now = at(7)
    found = parts(job, now)
    assert min(found.values()) >= 0
    whole = max(((job.finished_at or now) - job.created_at).total_seconds(), 0)
    assert sum(found.values()) == pytest.approx(whole, abs=1e-5)
    told = explain(job, config=CONFIG, mates=[], now=now)
    assert told["total_s"] == pytest.approx(whole, abs=1e-5)
    assert told["parts_s"] == found
    orjson.dumps(told)


def test_what_was_never_computed_waited_to_its_end():
    expired = job_of(JobStatus.EXPIRED, started_at=None, run=Run(admission_s=0.5))
    assert parts(expired, at(99))["queue"] == 9.5
    waiting = job_of(JobStatus.QUEUED, started_at=None, run=Run())
    assert parts(waiting, at(7))["so_far"] == 7.0


@pytest.mark.parametrize("reason", FlushReason)
def test_every_reason_to_leave_is_put_into_words(reason):
    told = explain(job_of(run=run_of(flush_reason=reason)), config=CONFIG, mates=[uuid4()])
    words = {
        FlushReason.FULL: "it held 8 requests",
        FlushReason.TIMER: "its oldest request had waited 2 s",
        FlushReason.DEADLINE: "a deadline",
        FlushReason.FLUSH: "must not wait",
        FlushReason.DRAIN: "about to stop",
    }[reason]
    assert words in told["batch"]["left_because"]
    assert told["batch"]["left_because"] in told["summary"]


@pytest.mark.parametrize(("size", "words"), [(1, "alone"), (2, "with one other"), (8, "with 7 others")])
def test_the_company_is_told(size, words):
    told = explain(job_of(run=run_of(batch_size=size)), config=None, mates=[])  # its model has gone
    assert f"computed {words}," in told["summary"]


def test_a_wait_for_a_version_is_told():
    run = run_of(load_s=2.0, queue_s=0.5)
    job = job_of(run=run, requested_version="2.0.0", model_version="2.0.0")
    told = explain(job, config=CONFIG, mates=[])
    assert told["parts_s"]["version_load"] == 2.0
    assert ", and 2.0 s waiting for its version of the model to be loaded; " in told["summary"]
    assert "it was computed by version 2.0.0 with 2 others, " in told["summary"]
    assert told["model_version"] == "2.0.0"
    longest = explain(job_of(run=run_of(load_s=5.5, queue_s=0.0, compute_s=1.0)), config=CONFIG, mates=[])
    assert "5.5 s of it waiting for its version of the model to be loaded; " in longest["summary"]
    error = orjson.dumps({"code": "version_failed", "title": "", "detail": "x: the checksum does not match"})
    broken = job_of(JobStatus.FAILED, error=error, run=Run(flush_reason="full", load_s=0.1))
    assert (
        "It failed: its version of the model could not be"
        in explain(broken, config=None, mates=[])["summary"]
    )


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (job_of(JobStatus.QUEUED, started_at=None), "The job waits, 7.0 s after it was submitted; "),
        (job_of(JobStatus.RUNNING), "The job is being computed, 7.0 s after it was submitted; "),
        (job_of(run=run_of()), "It succeeded after 10.0 s, 5.0 s of it being computed; "),
        (job_of(run=run_of(), attempt=2), "; it took 2 attempts."),
        (job_of(JobStatus.FAILED, run=run_of()), "It failed: the model refused it or raised an error after"),
        (job_of(JobStatus.CANCELLED, started_at=None), "It was cancelled after 10.0 s, 10.0 s of it waiting"),
        (job_of(JobStatus.EXPIRED, started_at=None), "It expired: it could not start before its deadline"),
        (job_of(JobStatus.DEAD, attempt=3), "It is dead: none of its 3 attempts came to an end"),
        (job_of(ended_s=0.25), "It succeeded after 250 ms"),
    ],
)
def test_every_state_has_a_sentence(job, words):
    told = explain(job, config=CONFIG, mates=[], eta_s=1.5, now=at(7))
    assert words in told["summary"]
    assert told["summary"].endswith(".")
    if not job.status.is_terminal:
        assert "it will probably have ended in 1.5 s" in told["summary"]


def test_the_history_of_attempts_names_no_owner():
    first = job_of(JobStatus.RUNNING)
    past = ended_attempt(first, owner=uuid4(), ended_at=at(5), code="x", detail="y", replica_id="r1")
    job = job_of(attempt=2, attempts=b"[" + past + b"]", run_at=at(6), run=run_of(replica_id="r2"))
    attempts = explain(job, config=CONFIG, mates=[])["attempts"]
    assert [(a["attempt"], a["code"], a["replica_id"]) for a in attempts] == [(1, "x", "r1"), (2, None, "r2")]
    assert all("owner" not in a for a in attempts)
    assert attempts[0].keys() == attempts[1].keys()
