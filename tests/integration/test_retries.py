"""A model says which of its errors pass: these are tried again, later and later, and never too often."""

from collections import Counter
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import pytest
from pydantic import BaseModel

from satellite.model import forget, register_model, registered
from satellite.series import Series

from .conftest import serve
from .helpers import ended, held_back, series, shown, submitted

FINE, LOST, RAISED, BROKEN = 0, 100, 200, 300  # plus in how many attempts it fails


@register_model("flaky")
class Flaky:
    """Fails as the input says."""

    version = "1.0.0"
    Input = Series

    class Config(BaseModel, extra="forbid"):
        forecast_steps: int = 1

    class Output(BaseModel):
        forecast: list[float]

    example = {"data": [0.0, 0.0, 0.0, 0.0]}  # noqa: RUF012
    retryable = (ConnectionError,)
    calls: ClassVar[Counter[float]] = Counter()

    def load(self, device):
        self.calls.clear()

    def infer_batch(self, inputs):
        for item in inputs:
            if item.data[0] // 100 * 100 == RAISED and len(inputs) == 1 and self._fails(item.data[0]):
                raise ConnectionResetError("reset by peer")
            if item.data[0] // 100 * 100 == RAISED and len(inputs) > 1:
                raise ConnectionResetError("somebody here")
        return [self._answer(item.data[0]) for item in inputs]

    def _answer(self, number):
        if number // 100 * 100 == LOST and self._fails(number):
            return ConnectionError("no route to host")
        if number == BROKEN:
            return ValueError("a bug")
        return self.Output(forecast=[number])

    def _fails(self, number):
        self.calls[number] += 1
        return self.calls[number] <= number % 100


SPEC = registered()["flaky"]
forget("flaky")


@pytest.fixture
async def flaky(database_url, redis):
    async with serve(database_url, redis.url, spec=SPEC) as node:
        yield node


def seconds(later, earlier):
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


@pytest.mark.parametrize("kind", [LOST, RAISED], ids=["as a value", "raised"])
async def test_an_error_that_passes_is_tried_again_later_and_later(flaky, db, kind):
    job_id = await submitted(flaky, kind + 4, max_attempts=6)
    result = await ended(flaky, job_id)
    assert (result["status"], result["attempt"]) == ("succeeded", 5)
    assert result["result"]["forecast"] == [kind + 4]
    body = await shown(flaky, job_id)
    history = body["attempts"]
    assert [past["attempt"] for past in history] == [1, 2, 3, 4]
    starts = [past["started_at"] for past in history[1:]] + [body["started_at"]]
    for number, (past, next_start) in enumerate(zip(history, starts, strict=True)):
        assert past["code"] == "transient_failure"
        assert past["detail"].startswith("flaky raised Connection")
        assert past["replica_id"] == "local"
        assert past["started_at"] <= past["ended_at"]
        # 0.05 s, doubled each time, give or take a half; then the batch may wait for company.
        assert 0.025 * 2**number <= seconds(next_start, past["ended_at"]) <= 0.075 * 2**number + 0.4
    events = await db.fetch(
        "SELECT attempt, status FROM events WHERE job_id = $1 ORDER BY xid, seq", UUID(job_id)
    )
    assert [tuple(event) for event in events] == [
        *((n, status) for n in (1, 2, 3, 4) for status in ("queued", "running")),
        *((5, status) for status in ("queued", "running", "succeeded")),
    ]


async def test_one_that_never_passes_ends_dead_with_its_whole_history(flaky, db):
    job_id = await submitted(flaky, LOST + 99)
    result = await ended(flaky, job_id)
    assert (result["status"], result["attempt"]) == ("dead", 3)
    assert result["error"]["code"] == "transient_failure"
    assert "no route to host" in result["error"]["detail"]
    body = await shown(flaky, job_id)
    assert [(a["attempt"], a["code"]) for a in body["attempts"]] == [
        (1, "transient_failure"),
        (2, "transient_failure"),
    ]
    assert flaky.replica.inputs == [series(LOST + 99)] * 3


async def test_any_other_error_ends_the_job_at_once(flaky):
    job_id = await submitted(flaky, BROKEN)
    result = await ended(flaky, job_id)
    assert (result["status"], result["attempt"]) == ("failed", 1)
    assert result["error"]["code"] == "model_failed"
    assert flaky.replica.inputs == [series(BROKEN)]


async def test_of_a_batch_only_those_that_failed_are_tried_again_and_none_too_often(flaky, db):
    numbers = [FINE + 1, LOST + 1, BROKEN, LOST + 99, RAISED + 1, FINE + 2, LOST + 2, RAISED + 99]
    with held_back(flaky):
        ids = [await submitted(flaky, number) for number in numbers]
    found = [await ended(flaky, job_id) for job_id in ids]
    assert [(r["status"], r["attempt"]) for r in found] == [
        ("succeeded", 1),
        ("succeeded", 2),
        ("failed", 1),
        ("dead", 3),
        ("succeeded", 2),
        ("succeeded", 1),
        ("succeeded", 3),
        ("dead", 3),
    ]
    assert await db.fetchval("SELECT count(*) FROM jobs WHERE attempt > max_attempts") == 0
    assert Counter(int(data[0]) for data in flaky.replica.inputs) == {
        number: result["attempt"] for number, result in zip(numbers, found, strict=True)
    }
