"""`/api/v1/jobs`: list, look at, explain, cancel, repeat and delete jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from satellite.api.body import (
    invalid,
    parse_edits,
    parse_fields,
    parse_int,
    parse_json,
    parse_key,
    parse_label,
    parse_sought,
)
from satellite.api.context import caller_of, context_of
from satellite.api.inference import JSON, accepted
from satellite.api.openapi import described
from satellite.api.problems import problem
from satellite.api.reading import read_body
from satellite.api.schemas import Status
from satellite.errors import SatelliteError
from satellite.jobs import Job, JobStatus, labels_to_dict, public_attempts
from satellite.store import JobFilter, StoredJob

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
dead_letters_router = APIRouter(prefix="/api/v1/dead-letters", tags=["jobs"])

MAX_PAGE = 500
MAX_IDS = 1000
MAX_REPLAYS = 1000
REPLAYS = 100


@router.get("", **described("list_jobs"))
async def list_jobs(
    request: Request,
    model_name: Annotated[str | None, Query(description="Only of this model.")] = None,
    status: Annotated[
        list[Status] | None, Query(description="Only in these states; may be repeated.")
    ] = None,
    label: Annotated[
        list[str] | None, Query(description="Only with this label, `key=value`; repeated: with all of them.")
    ] = None,
    created_after: Annotated[datetime | None, Query(description="Created at this time or later.")] = None,
    created_before: Annotated[datetime | None, Query(description="Created before this time.")] = None,
    parent_id: Annotated[UUID | None, Query(description="Only repetitions of this job.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Jobs a page.")] = 50,
    cursor: Annotated[UUID | None, Query(description="`next_cursor` of the page before.")] = None,
) -> Response:
    """Jobs without their payloads, newest first. Page by page: pass on `next_cursor` until it is null."""
    for name, moment in (("created_after", created_after), ("created_before", created_before)):
        if moment is not None and moment.tzinfo is None:
            raise invalid(f"/query/{name}", "must have a time zone, such as 2026-01-05T12:00:00Z")
    wanted = JobFilter(
        model_name=None if model_name is None else parse_sought(model_name, "/query/model_name"),
        statuses=tuple(JobStatus(name) for name in status or ()),
        labels=tuple(parse_label(text, "/query/label") for text in label or ()),
        created_after=created_after,
        created_before=created_before,
        parent_id=parent_id,
    )
    tenant = caller_of(request).tenant
    jobs = await context_of(request).control.list_jobs(tenant, wanted, before=cursor, limit=limit + 1)
    more = len(jobs) > limit
    jobs = jobs[:limit]
    return _json(
        {"jobs": [job_summary(job) for job in jobs], "next_cursor": str(jobs[-1].job_id) if more else None}
    )


@router.post("/retry", **described("replay"))
async def replay(request: Request) -> Response:
    """Repeat dead jobs that have not been repeated yet, oldest first, in one transaction."""
    context = context_of(request)
    fields = parse_fields(parse_json(await read_body(request, context) or b"{}"), _REPLAY_FIELDS)
    outcomes, remaining = await context.control.replay(
        caller_of(request),
        job_ids=fields.get("job_ids"),
        model_name=fields.get("model_name"),
        error_code=fields.get("error_code"),
        limit=fields.get("limit", len(fields["job_ids"]) if fields.get("job_ids") else REPLAYS),
    )
    request_id = request.scope.get("request_id")
    return _json(
        {
            "replayed": sum(not isinstance(answer, SatelliteError) for _, answer in outcomes),
            "remaining": remaining,
            "items": [
                {"parent_id": str(parent_id), "problem": problem(answer, request_id)}
                if isinstance(answer, SatelliteError)
                else {"parent_id": str(parent_id), "job_id": str(answer.job.job_id)}
                for parent_id, answer in outcomes
            ],
        }
    )


@router.post("/cancel", **described("cancel_many"))
async def cancel_many(request: Request) -> Response:
    """Cancel many jobs, each for itself: see `/jobs/{job_id}/cancel`.

    An item with a `status` other than `cancelled`: the ingress that holds the job has been asked, and has not
    answered yet.
    """
    context = context_of(request)
    body = parse_json(await read_body(request, context))
    fields = parse_fields(body, {"job_ids": _job_ids})
    if "job_ids" not in fields:
        raise invalid("/job_ids", "is missing")
    job_ids: list[UUID] = fields["job_ids"]
    answers = await context.control.cancel_all(job_ids, caller_of(request).tenant)
    request_id = request.scope.get("request_id")
    items = [
        {"job_id": str(job_id), "problem": problem(answer, request_id)}
        if isinstance(answer, SatelliteError)
        else {"job_id": str(job_id), "status": answer.status}
        for job_id, answer in zip(job_ids, answers, strict=True)
    ]
    return _json(
        {"cancelled": sum(item.get("status") is JobStatus.CANCELLED for item in items), "items": items}
    )


@dead_letters_router.get("", **described("dead_letters"))
async def dead_letters(request: Request) -> Response:
    """Dead jobs that have not been repeated yet, by model and error; the largest group first, at most 100.

    `POST /jobs/retry` with a group's `model_name` and `error_code` repeats its jobs.
    """
    groups = await context_of(request).control.dead_letters(caller_of(request).tenant)
    return _json(
        {
            "groups": [
                {
                    "model_name": group.example.model_name,
                    "error_code": group.error_code,
                    "count": group.count,
                    "oldest_at": group.oldest_at,
                    "newest_at": group.newest_at,
                    "example": {**job_summary(group.example), "attempts": public_attempts(group.example)},
                }
                for group in groups
            ]
        }
    )


@router.get("/{job_id}", **described("get_job"))
async def get_job(request: Request, job_id: UUID) -> Response:
    """One job, with its input, its result and everything else that is stored of it."""
    control = context_of(request).control
    stored = await control.get(job_id, caller_of(request).tenant)
    position, eta_s = await control.expectation(stored)
    return _json({**job_detail(stored), "queue_position": position, "eta_s": eta_s})


@router.get("/{job_id}/explain", **described("explain"))
async def explain(request: Request, job_id: UUID) -> Response:
    """Where the job's time went, why its batch left, who was in it, and a sentence in plain words."""
    return _json(await context_of(request).control.explain(job_id, caller_of(request).tenant))


@router.post("/{job_id}/cancel", **described("cancel"))
async def cancel(request: Request, job_id: UUID) -> Response:
    """Cancel a job. One that waits never runs; of one that is being computed the result is discarded.

    200: it is cancelled. 202: the ingress that holds it has been asked, and has not answered yet.
    """
    job = await context_of(request).control.cancel(job_id, caller_of(request).tenant)
    return _json(job_summary(job), status_code=200 if job.status.is_terminal else 202)


@router.post("/{job_id}/retry", **described("retry"))
async def retry(request: Request, job_id: UUID) -> Response:
    """Repeat a job that has ended, as a new job linked to it, with whatever the body changes."""
    context = context_of(request)
    body = await read_body(request, context)
    edits = parse_edits(parse_json(body)) if body else {}
    if "idempotency-key" in request.headers:
        key = request.headers["idempotency-key"]
        edits["idempotency_key"] = parse_key(key, "/headers/idempotency-key")
    return accepted(await context.control.retry(job_id, edits, caller_of(request)))


@router.delete("/{job_id}", status_code=204, **described("delete"))
async def delete(request: Request, job_id: UUID) -> Response:
    """Delete a job that has ended, with its input and result. Events of it stay in the log."""
    await context_of(request).control.delete(job_id, caller_of(request).tenant)
    return Response(status_code=204)


def job_summary(job: Job) -> dict[str, Any]:
    """A job without its payloads, in wire form."""
    return {
        "job_id": str(job.job_id),
        "status": job.status,
        "model_name": job.model_name,
        "requested_version": job.requested_version,
        "model_version": job.model_version,
        "priority": job.priority,
        "labels": labels_to_dict(job.labels),
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "error": job.error and orjson.Fragment(job.error),
        "created_at": job.created_at,
        "run_at": job.run_at,
        "deadline_at": job.deadline_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "parent_id": job.parent_id and str(job.parent_id),
        "cancel_requested": job.cancel_requested,
        "batch_size": job.run and job.run.batch_size,
    }


def job_detail(stored: StoredJob) -> dict[str, Any]:
    """Everything that is stored of a job, in wire form."""
    job = stored.job
    return {
        **job_summary(job),
        "data": orjson.Fragment(stored.input),
        "config": orjson.Fragment(stored.config),
        "result": job.result and orjson.Fragment(job.result),
        "attempts": public_attempts(job),
    }


def _job_ids(value: Any, pointer: str) -> list[UUID]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_IDS:
        raise invalid(pointer, f"must be a list of 1 to {MAX_IDS} job ids")
    try:
        return [UUID(id_) for id_ in value]
    except (ValueError, AttributeError, TypeError):
        raise invalid(pointer, "must be a list of UUIDs") from None


_REPLAY_FIELDS = {
    "job_ids": _job_ids,
    "model_name": parse_sought,
    "error_code": parse_sought,
    "limit": parse_int(1, MAX_REPLAYS),
}


def _json(content: dict[str, Any], *, status_code: int = 200) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), status_code=status_code, media_type=JSON)
