"""What the messages say, without a broker."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import jsonschema
import pytest

from satellite.errors import BodyTooLarge, InvalidJSON, InvalidRequest, ModelNotFound, SatelliteError
from satellite.jobs import Job, JobStatus
from satellite.kafka.messages import (
    EventMessage,
    ResultMessage,
    event_message,
    parse_record,
    rejection,
    result_message,
    without_value,
)
from satellite.kafka.schemas import SCHEMAS, schema
from satellite.store import TenantEvent

JOB_ID = UUID("0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d")
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
EVENT = TenantEvent(
    position=(7, 9),
    job_id=JOB_ID,
    model_name="m",
    status=JobStatus.SUCCEEDED,
    attempt=2,
    at=AT,
    tenant="default",
)
JOB = Job(
    job_id=JOB_ID,
    tenant="default",
    model_name="m",
    status=JobStatus.SUCCEEDED,
    attempt=2,
    created_at=AT,
    labels=("order=7",),
    model_version="1.0.0",
    started_at=AT,
    finished_at=AT,
    result=b'{"forecast":[1.0]}',
)


@dataclass
class Record:
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    key: bytes | None = None
    topic: str = "satellite.jobs"
    partition: int = 3
    offset: int = 42
    timestamp: int = 1_700_000_000_000


def record(body: object, *headers: tuple[str, bytes | None]) -> Record:
    return Record(json.dumps(body).encode(), headers)


BODY = {"model_name": "m", "data": [1.0]}


def parsed(message: Record):
    return parse_record(message, max_bytes=1000)


def test_without_a_key_of_its_own_a_message_is_known_by_its_place() -> None:
    assert parsed(record(BODY)).idempotency_key == "kafka:satellite.jobs:3:42:1700000000000"
    again = Record(record(BODY).value, timestamp=1)  # the topic was made anew: another message
    assert parsed(again).idempotency_key != parsed(record(BODY)).idempotency_key


@pytest.mark.parametrize(
    "message",
    [
        record({**BODY, "idempotency_key": "a"}),
        record(BODY, ("idempotency-key", b"a")),
        record(BODY, ("traceparent", b"x"), ("Idempotency-Key", b"a")),
        record({**BODY, "idempotency_key": "a"}, ("idempotency-key", b"a")),
    ],
)
def test_its_key_is_that_of_the_header_or_the_body(message: Record) -> None:
    assert parsed(message).idempotency_key == "a"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (Record(None), InvalidJSON),
        (Record(b"{"), InvalidJSON),
        (Record(b"[]"), InvalidRequest),
        (record({**BODY, "wait_s": 1}), InvalidRequest),
        (record({**BODY, "idempotency_key": "a"}, ("idempotency-key", b"b")), InvalidRequest),
        (record(BODY, ("idempotency-key", None)), InvalidRequest),
        (record({**BODY, "data": [1.0] * 500}), BodyTooLarge),
    ],
)
def test_what_makes_no_request_is_refused(message: Record, error: type[SatelliteError]) -> None:
    with pytest.raises(error):
        parsed(message)


def test_a_rejected_message_is_as_it_came_with_the_reason_in_its_headers() -> None:
    message = rejection(
        Record(b"x", (("a", None),), key=b"k"), ModelNotFound("no 'ä'" + "é" * 2000), "satellite.rejected"
    )
    headers = dict(message.headers)
    assert (message.topic, message.key, message.value, headers["a"]) == (
        "satellite.rejected",
        b"k",
        b"x",
        b"",
    )
    assert headers["satellite-code"] == b"model_not_found"
    assert headers["satellite-detail"].decode().startswith("no 'ä'")
    assert len(headers["satellite-detail"]) <= 2000
    assert (headers["satellite-partition"], headers["satellite-offset"]) == (b"3", b"42")
    assert without_value(message).value == b""


def test_results_and_steps_are_as_their_schemas_say() -> None:
    messages = {
        "results": [
            result_message(EVENT, JOB, "t"),
            result_message(EVENT, JOB, "t", is_too_large=True),
            result_message(EVENT, None, "t"),
        ],
        "events": [event_message(EVENT, "t")],
    }
    for topic, model in (("results", ResultMessage), ("events", EventMessage)):
        for message in messages[topic]:
            assert message.key == str(JOB_ID).encode()
            jsonschema.validate(json.loads(message.value), schema(topic))
            model.model_validate_json(message.value)
    whole, large, deleted = (json.loads(message.value) for message in messages["results"])
    assert (whole["result"], whole["labels"], whole["omitted"]) == ({"forecast": [1.0]}, {"order": "7"}, None)
    assert (large["result"], large["omitted"]) == (None, "too_large")
    assert (deleted["result"], deleted["omitted"], deleted["status"]) == (None, "deleted", "succeeded")


@pytest.mark.parametrize(
    ("body", "valid"),
    [
        (BODY, True),
        ({**BODY, "config": {"a": 1}, "priority": 9, "labels": {"a": "b"}, "idempotency_key": "a"}, True),
        ({**BODY, "priority": 10}, False),
        ({**BODY, "max_attempts": 0}, False),
        ({**BODY, "idempotency_key": "a b"}, False),
        ({**BODY, "wait_s": 1}, False),
        ({"data": 1}, False),
    ],
)
def test_the_schema_of_jobs_says_what_is_accepted(body: object, valid: bool) -> None:
    assert jsonschema.Draft202012Validator(schema("jobs")).is_valid(body) is valid
    if valid:
        parsed(record(body))
    else:
        with pytest.raises(InvalidRequest):
            parsed(record(body))


@pytest.mark.parametrize("topic", list(SCHEMAS))
def test_the_schemas_are_valid(topic: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(topic))
