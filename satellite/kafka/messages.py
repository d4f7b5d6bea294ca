"""What the messages hold: requests as they come in, results and steps as they leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field

from satellite.api.body import invalid, parse_item, parse_json, parse_key
from satellite.api.schemas import JobError, Status
from satellite.errors import BodyTooLarge, InvalidJSON, SatelliteError
from satellite.jobs import Job, labels_to_dict
from satellite.store import TenantEvent
from satellite.submission import Submission

IDEMPOTENCY_KEY = "idempotency-key"
MAX_DETAIL_BYTES = 2000

Headers = Sequence[tuple[str, bytes | None]]


class Record(Protocol):
    """A message as it was consumed; the part of kafka-python's `ConsumerRecord` that is used here."""

    topic: str
    partition: int
    offset: int
    timestamp: int  # ms
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to be produced."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


def parse_record(record: Record, *, max_bytes: int) -> Submission:
    """The request that a message of the topic `jobs` makes.

    Its idempotency key is that of the header, or that in the body. Without one it is the message's place:
    topic, partition, offset and the time it was written, as a topic that is made anew counts from 0 again.

    Raises:
        BodyTooLarge, InvalidJSON, InvalidRequest: it makes none.
    """
    if record.value is None:
        raise InvalidJSON("the message has no value; send a JSON object as for POST /api/v1/inference/submit")
    if len(record.value) > max_bytes:
        raise BodyTooLarge(f"the message is larger than {max_bytes} bytes (SATELLITE_MAX_BODY_BYTES)")
    submission = parse_item(parse_json(record.value))
    for name, value in record.headers:
        if name.lower() == IDEMPOTENCY_KEY:
            key = parse_key((value or b"").decode("latin-1"), f"/headers/{IDEMPOTENCY_KEY}")
            if submission.idempotency_key not in (None, key):
                raise invalid("/idempotency_key", "differs from that in the header; send one of the two")
            return replace(submission, idempotency_key=key)
    if submission.idempotency_key is not None:
        return submission
    place = f"kafka:{record.topic}:{record.partition}:{record.offset}:{record.timestamp}"
    return replace(submission, idempotency_key=place)


def rejection(record: Record, error: SatelliteError, topic: str) -> Message:
    """A message that cannot be a job, as it came, with the reason in its headers."""
    reason = {
        "code": error.code,
        "detail": str(error).encode("utf-8", "replace")[:MAX_DETAIL_BYTES].decode("utf-8", "ignore"),
        "errors": orjson.dumps(error.errors or []).decode(),
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
    }
    headers = [(name, value or b"") for name, value in record.headers]
    headers += [(f"satellite-{name}", text.encode()) for name, text in reason.items()]
    return Message(topic=topic, key=record.key, value=record.value or b"", headers=headers)


def without_value(message: Message) -> Message:
    """A message whose value does not fit the topic it is for."""
    return replace(message, value=b"", headers=[*message.headers, ("satellite-omitted", b"too_large")])


class JobLinks(BaseModel):
    """Where the API has the job."""

    result: str
    job: str


class ResultMessage(BaseModel):
    """A value in the topic `results`: a job that has ended. The key is its `job_id`."""

    model_config = ConfigDict(title="A message of the topic satellite.results")

    job_id: UUID
    tenant: str
    status: Status
    model_name: str
    model_version: str | None = Field(description="The version that ran.")
    labels: dict[str, str] = Field(description="As they were submitted.")
    result: Any = Field(description="The model's Output, if the job has succeeded.")
    error: JobError | None
    omitted: Literal["too_large", "deleted"] | None = Field(
        description="Why the result is not here: it does not fit a message, and is at links.result; or the "
        "job was deleted before this message was made, and is nowhere."
    )
    attempt: int
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime
    links: JobLinks


class EventMessage(BaseModel):
    """A value in the topic `events`: a step of a job. The key is its `job_id`."""

    model_config = ConfigDict(title="A message of the topic satellite.events")

    id: str = Field(description="The event's position in the log; a message that comes twice has the same.")
    job_id: UUID
    tenant: str
    model_name: str
    status: Status
    attempt: int
    at: datetime


def result_message(event: TenantEvent, job: Job | None, topic: str, *, is_too_large: bool = False) -> Message:
    """The end of a job.

    Args:
        event: the step that ended it.
        job: the job; None if it was deleted since.
        topic: where it goes.
        is_too_large: the result is not in `job`, or must not be in the message.
    """
    omitted = "deleted" if job is None else "too_large" if is_too_large else None
    body = {
        "job_id": str(event.job_id),
        "tenant": event.tenant,
        "status": event.status,
        "model_name": event.model_name,
        "model_version": job and job.model_version,
        "labels": labels_to_dict(job.labels) if job else {},
        "result": orjson.Fragment(job.result) if job and job.result and not is_too_large else None,
        "error": orjson.Fragment(job.error) if job and job.error else None,
        "omitted": omitted,
        "attempt": event.attempt,
        "created_at": job and job.created_at,
        "started_at": job and job.started_at,
        "finished_at": event.at,
        "links": {
            "result": f"/api/v1/inference/result/{event.job_id}",
            "job": f"/api/v1/jobs/{event.job_id}",
        },
    }
    return _message(topic, event, body)


def event_message(event: TenantEvent, topic: str) -> Message:
    """A step of a job."""
    body = {
        "id": f"{event.position[0]}-{event.position[1]}",
        "job_id": str(event.job_id),
        "tenant": event.tenant,
        "model_name": event.model_name,
        "status": event.status,
        "attempt": event.attempt,
        "at": event.at,
    }
    return _message(topic, event, body)


def _message(topic: str, event: TenantEvent, body: dict[str, Any]) -> Message:
    value = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    return Message(topic=topic, key=str(event.job_id).encode(), value=value)
