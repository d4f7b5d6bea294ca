"""`/api/v1/inference`: submit, result, predict."""

from __future__ import annotations

import math
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from satellite.api.body import InferenceBody, parse_inference, parse_json, read_body
from satellite.api.context import ApiContext, context_of
from satellite.api.openapi import described
from satellite.errors import InvalidRequest
from satellite.jobs import Job

router = APIRouter(prefix="/api/v1/inference", tags=["inference"])

JSON = "application/json"


@router.post("/submit", **described("submit"))
async def submit(request: Request) -> Response:
    """Accept a job and answer at once with its id.

    The job is committed in PostgreSQL before the answer. Its result is at `links.result`.
    """
    context = context_of(request)
    body = await _read(request, context)
    job = await context.service.submit(body.model_name, body.data, body.config)
    return accepted(job)


@router.get("/result/{job_id}", **described("result"))
async def result(
    request: Request,
    job_id: UUID,
    wait_s: Annotated[float, Query(ge=0, description="Wait up to this many seconds for the job to end.")] = 0,
) -> Response:
    """The job as it is now, or, with `wait_s`, as it is once it has ended."""
    context = context_of(request)
    _, body = await context.service.result(job_id, wait_s=_wait(wait_s, context))
    return Response(body, media_type=JSON)


@router.post("/predict", **described("predict"))
async def predict(request: Request) -> Response:
    """Compute now and answer with the result. A free replica takes the request at once.

    Nothing is stored unless `store` is true. A stored one that does not end within `wait_s` answers 202 with
    its id, and goes on.
    """
    context = context_of(request)
    body = await _read(request, context)
    settings = context.settings
    wait_s = settings.predict_wait_s if body.wait_s is None else _wait(body.wait_s, context)
    if not body.store:
        answer = await context.service.predict(body.model_name, body.data, body.config, wait_s=wait_s)
        return Response(answer, media_type=JSON)
    job = await context.service.submit(body.model_name, body.data, body.config, flush=True)
    status, answer = await context.service.result(job.job_id, wait_s=wait_s)
    return Response(answer, media_type=JSON) if status.is_terminal else accepted(job)


def accepted(job: Job) -> Response:
    """202: the job is stored, here is where to find it."""
    return Response(
        orjson.dumps(accepted_body(job), option=orjson.OPT_UTC_Z),
        status_code=202,
        media_type=JSON,
        headers={"Location": _result_path(job)},
    )


def accepted_body(job: Job) -> dict[str, object]:
    """The body of 202."""
    return {
        "job_id": str(job.job_id),
        "status": job.status,
        "model_name": job.model_name,
        "created_at": job.created_at,
        "links": {
            "result": _result_path(job),
            "wait": f"{_result_path(job)}?wait_s=30",
            "model": f"/api/v1/models/{job.model_name}",
            "events": "/api/v1/ws",
        },
    }


def _result_path(job: Job) -> str:
    return f"/api/v1/inference/result/{job.job_id}"


async def _read(request: Request, context: ApiContext) -> InferenceBody:
    return parse_inference(parse_json(await read_body(request, context.settings.max_body_bytes)))


def _wait(wait_s: float, context: ApiContext) -> float:
    longest = context.settings.max_wait_s
    if not (math.isfinite(wait_s) and 0 <= wait_s <= longest):
        detail = f"must be between 0 and {longest:g} seconds"
        raise InvalidRequest(f"wait_s: {detail}", errors=[{"pointer": "/wait_s", "detail": detail}])
    return wait_s
