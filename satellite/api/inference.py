"""`/api/v1/inference`: submit, batch, result, predict."""

from __future__ import annotations

import math
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from satellite.api.body import (
    invalid,
    parse_fields,
    parse_inference,
    parse_item,
    parse_json,
)
from satellite.api.context import ApiContext, caller_of, context_of
from satellite.api.hangup import while_connected
from satellite.api.openapi import described
from satellite.api.problems import problem
from satellite.api.reading import headers_of, read_body
from satellite.errors import InvalidRequest, SatelliteError
from satellite.submission import Submission, Submitted

router = APIRouter(prefix="/api/v1/inference", tags=["inference"])

JSON = "application/json"
MAX_ITEMS = 1000


@router.post("/submit", **described("submit"))
async def submit(request: Request) -> Response:
    """Accept a job and answer at once with its id.

    The job is committed in PostgreSQL before the answer. Its result is at `links.result`. Sent again with the
    same `Idempotency-Key`, a request is the same job.
    """
    context = context_of(request)
    body = parse_inference(await _read(request, context), idempotency_key=_key(request))
    return accepted(await context.service.submit(body.submission, caller_of(request)))


@router.post("/batch", **described("batch"))
async def batch(request: Request) -> Response:
    """Accept up to 1,000 jobs in one transaction, each for itself, with a verdict for each, in order."""
    context = context_of(request)
    if _key(request) is not None:
        raise invalid("/headers/idempotency-key", "give each item an idempotency_key of its own")
    fields = parse_fields(await _read(request, context), {"items": _items}, required=("items",))
    await context.access.charge(caller_of(request), len(fields["items"]) - 1)
    items: list[Submission | SatelliteError] = []
    for item in fields["items"]:
        try:
            items.append(parse_item(item))
        except InvalidRequest as error:
            items.append(error)
    answers = await context.service.submit_all(items, caller_of(request))
    verdicts = [
        _verdict(number, answer, request.scope.get("request_id")) for number, answer in enumerate(answers)
    ]
    count = sum(verdict["status_code"] == 202 for verdict in verdicts)
    content = {"accepted": count, "rejected": len(verdicts) - count, "items": verdicts}
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), status_code=207, media_type=JSON)


@router.get("/result/{job_id}", **described("result"))
async def result(
    request: Request,
    job_id: UUID,
    wait_s: Annotated[float, Query(ge=0, description="Wait up to this many seconds for the job to end.")] = 0,
) -> Response:
    """The job as it is now, or, with `wait_s`, as it is once it has ended."""
    context = context_of(request)
    tenant, wait_s = caller_of(request).tenant, _wait(wait_s, context)
    _, body = await while_connected(request, context.watching.result(job_id, tenant, wait_s=wait_s))
    return Response(body, media_type=JSON)


@router.post("/predict", **described("predict"))
async def predict(request: Request) -> Response:
    """Compute now and answer with the result. A free replica takes the request at once.

    Nothing is stored unless `store` is true. A stored one that does not end within `wait_s` answers 202 with
    its id, and goes on.
    """
    context = context_of(request)
    body = parse_inference(await _read(request, context), idempotency_key=_key(request))
    settings, asked, caller = context.settings, body.submission, caller_of(request)
    wait_s = settings.predict_wait_s if body.wait_s is None else _wait(body.wait_s, context)
    if not body.store:
        if body.job_fields:
            fields = ", ".join(body.job_fields)
            raise invalid("", f'{fields}: for stored jobs only; add "store": true')
        work = context.service.predict(
            asked.model_name,
            asked.data,
            asked.config,
            tenant=caller.tenant,
            wait_s=wait_s,
            model_version=asked.model_version,
        )
        return Response(await while_connected(request, work), media_type=JSON)
    submitted = await context.service.submit(asked.flushed(), caller)
    status, answer = await while_connected(
        request, context.watching.result(submitted.job.job_id, caller.tenant, wait_s=wait_s)
    )
    return Response(answer, media_type=JSON) if status.is_terminal else accepted(submitted)


def accepted(submitted: Submitted) -> Response:
    """202: the job is stored, here is where to find it."""
    body = accepted_body(submitted)
    headers = {"Location": body["links"]["result"]}
    if submitted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(
        orjson.dumps(body, option=orjson.OPT_UTC_Z),
        status_code=202,
        media_type=JSON,
        headers=headers,
    )


def accepted_body(submitted: Submitted) -> dict[str, Any]:
    """The body of 202."""
    job, job_id = submitted.job, str(submitted.job.job_id)
    path, result_path = f"/api/v1/jobs/{job_id}", f"/api/v1/inference/result/{job_id}"
    eta_s = submitted.eta_s
    body: dict[str, Any] = {
        "job_id": job_id,
        "status": job.status,
        "model_name": job.model_name,
        "requested_version": job.requested_version,
        "created_at": job.created_at,
        "queue_position": submitted.queue_position,
        "eta_s": None if eta_s is None else round(eta_s, 3),
        "links": {
            "result": result_path,
            "wait": f"{result_path}?wait_s=30",
            "job": path,
            "explain": f"{path}/explain",
            "cancel": f"{path}/cancel",
            "model": f"/api/v1/models/{job.model_name}",
            "events": f"/api/v1/events?job_id={job_id}",
        },
    }
    if job.parent_id is not None:
        body["parent_id"] = str(job.parent_id)
    return body


def _verdict(number: int, answer: Submitted | SatelliteError, request_id: str | None) -> dict[str, Any]:
    if isinstance(answer, SatelliteError):
        if isinstance(answer, InvalidRequest):
            answer = _at_item(number, answer)
        return {"index": number, "status_code": answer.status, "problem": problem(answer, request_id)}
    body = accepted_body(answer)
    del body["links"]
    return {"index": number, "status_code": 202, **body, "replayed": answer.replayed}


def _at_item(number: int, error: InvalidRequest) -> InvalidRequest:
    """The error of one item, with pointers into the whole batch."""
    pointer = f"/items/{number}"
    entries = [{**entry, "pointer": pointer + entry["pointer"]} for entry in error.errors or []]
    return InvalidRequest(f"{pointer}: {error.detail}", errors=entries)


def _items(value: Any, pointer: str) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_ITEMS:
        raise invalid(pointer, f"must be a list of 1 to {MAX_ITEMS} submissions")
    return value


def _key(request: Request) -> str | None:
    key = headers_of(request).get(b"idempotency-key")
    return None if key is None else key.decode("latin-1")


async def _read(request: Request, context: ApiContext) -> Any:
    return parse_json(await read_body(request, context))


def _wait(wait_s: float, context: ApiContext) -> float:
    longest = context.settings.max_wait_s
    if not (math.isfinite(wait_s) and 0 <= wait_s <= longest):
        raise invalid("/wait_s", f"must be between 0 and {longest:g} seconds")
    return wait_s
