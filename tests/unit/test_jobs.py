"""What a job is on the wire, and what its id says."""

import json
from datetime import UTC, datetime, timedelta

from satellite.jobs import Job, JobStatus, first_id_at, new_job_id


def test_ids_rise_and_carry_their_moment():
    before = datetime.now(UTC)
    made = [new_job_id() for _ in range(100)]
    ids = [job_id for job_id, _ in made]
    assert ids == sorted(ids)
    assert len(set(ids)) == 100
    assert {job_id.version for job_id in ids} == {7}
    assert all(abs(created_at - before) < timedelta(seconds=5) for _, created_at in made)
    job_id, created_at = made[0]
    assert job_id.int >> 80 == round(created_at.timestamp() * 1000)


def test_a_moment_becomes_the_first_id_of_its_millisecond():
    start = datetime(2026, 1, 5, tzinfo=UTC)
    for ms in range(2000):
        moment = start + timedelta(milliseconds=ms)
        expected = int(start.timestamp()) * 1000 + ms
        assert first_id_at(moment).int >> 80 == expected
        # "Created at this time or later", and "before this time": the next millisecond, both times.
        assert first_id_at(moment + timedelta(microseconds=1)).int >> 80 == expected + 1
    assert first_id_at(datetime.min.replace(tzinfo=UTC)).int == 0
    assert first_id_at(datetime.max.replace(tzinfo=UTC))


def test_terminal_states_are_the_last_ones():
    terminal = {status for status in JobStatus if status.is_terminal}
    assert terminal == set(JobStatus) - {JobStatus.QUEUED, JobStatus.RUNNING}
    assert JobStatus.QUEUED.rank < JobStatus.RUNNING.rank < JobStatus.FAILED.rank


def test_the_wire_form_carries_the_result_as_it_was_stored():
    job_id, created_at = new_job_id()
    job = Job(
        job_id=job_id,
        tenant="default",
        model_name="m",
        status=JobStatus.SUCCEEDED,
        attempt=2,
        created_at=created_at,
        started_at=created_at,
        finished_at=created_at,
        model_version="1.0.0",
        result=b'{"forecast":[1.50]}',
    )
    text = job.to_json().decode()
    assert '"result":{"forecast":[1.50]}' in text
    wire = json.loads(text)
    assert set(wire) == {
        *("job_id", "status", "model_name", "model_version", "result", "error", "attempt"),
        *("created_at", "started_at", "finished_at"),
    }
    assert (wire["status"], wire["attempt"], wire["error"]) == ("succeeded", 2, None)
    assert wire["created_at"].endswith("Z")
