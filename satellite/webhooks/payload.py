"""What a receiver is told: `type`, `timestamp` and `data`, as the Standard Webhooks propose."""

from __future__ import annotations

from typing import Any

import orjson

from satellite.jobs import Job, labels_to_dict
from satellite.webhooks.records import TEST_EVENT, Claimed


def needs_job(delivery: Claimed) -> bool:
    """Whether the message holds the whole job: once it has ended, which never changes."""
    return delivery.event not in (TEST_EVENT, "job.queued", "job.running")


def message(delivery: Claimed, job: Job | None, *, max_bytes: int) -> bytes:
    """The body of a message; the same for every try.

    Args:
        delivery: what it is of.
        job: the job, if it has ended and is still kept.
        max_bytes: a larger result is left out.
    """
    if delivery.event == TEST_EVENT:
        return _body(delivery, {})
    data: dict[str, Any] = {
        "job_id": str(delivery.job_id),
        "status": delivery.event.removeprefix("job."),
        "model_name": delivery.model_name,
        "attempt": delivery.attempt,
    }
    if job is not None:
        whole = _whole(job, with_result=True)
        body = _body(delivery, whole)
        return body if len(body) <= max_bytes else _body(delivery, _whole(job, with_result=False))
    return _body(delivery, data)


def _whole(job: Job, *, with_result: bool) -> dict[str, Any]:
    return {
        "job_id": str(job.job_id),
        "status": job.status,
        "model_name": job.model_name,
        "model_version": job.model_version,
        "attempt": job.attempt,
        "labels": labels_to_dict(job.labels),
        "result": job.result and orjson.Fragment(job.result) if with_result else None,
        "result_omitted": not with_result,
        "error": job.error and orjson.Fragment(job.error),
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "parent_id": job.parent_id and str(job.parent_id),
    }


def _body(delivery: Claimed, data: dict[str, Any]) -> bytes:
    content = {"type": delivery.event, "timestamp": delivery.at, "data": data}
    return orjson.dumps(content, option=orjson.OPT_UTC_Z)
