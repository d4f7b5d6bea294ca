"""`/api/v1/webhooks`: endpoints, their secrets and their deliveries; and the deliveries of one job."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from satellite.api.body import (
    invalid,
    parse_bool,
    parse_events,
    parse_fields,
    parse_json,
    parse_sought,
    parse_text,
)
from satellite.api.context import caller_of, context_of
from satellite.api.inference import JSON
from satellite.api.reading import read_body
from satellite.api.webhook_schemas import described
from satellite.webhooks.control import WebhookControl
from satellite.webhooks.records import Delivery, Endpoint

router = APIRouter(prefix="/api/v1", tags=["webhooks"])

MAX_PAGE = 500
MAX_BODY_BYTES = 64 * 1024


@router.post("/webhooks", **described("register"))
async def register(request: Request) -> Response:
    """Register an endpoint: it is told of the steps of all jobs, or of those of one model.

    The answer holds the secret that signs its messages; it is not shown again.
    """
    fields = await _fields(request, required=("url",))
    endpoint, secret = await _control(request).register(_tenant(request), **fields)
    return _json({**endpoint_body(endpoint), "secret": secret}, status_code=201)


@router.get("/webhooks", **described("list_webhooks"))
async def list_endpoints(request: Request) -> Response:
    """All endpoints, oldest first."""
    found = await _control(request).endpoints(_tenant(request))
    return _json({"webhooks": [endpoint_body(endpoint) for endpoint in found]})


@router.post("/webhooks/secret", **described("rotate_job_secret"))
async def rotate_job_secret(request: Request) -> Response:
    """Make the secret that signs messages to the URLs which jobs bring along (`webhook` of a submission).

    It is shown this once. The one before it, if there was one, signs too for another day.
    """
    return _secret(*await _control(request).rotate(None, _tenant(request)))


@router.get("/webhooks/{webhook_id}", **described("get_webhook"))
async def get_endpoint(request: Request, webhook_id: UUID) -> Response:
    """One endpoint."""
    return _json(endpoint_body(await _control(request).get(webhook_id, _tenant(request))))


@router.patch("/webhooks/{webhook_id}", **described("change_webhook"))
async def change(request: Request, webhook_id: UUID) -> Response:
    """Change an endpoint. Enabled again, it is told of what happens from then on."""
    fields = await _fields(request)
    return _json(endpoint_body(await _control(request).change(webhook_id, _tenant(request), fields)))


@router.delete("/webhooks/{webhook_id}", status_code=204, **described("delete_webhook"))
async def delete(request: Request, webhook_id: UUID) -> Response:
    """Delete an endpoint, with what waits for it and the log of its deliveries."""
    await _control(request).delete(webhook_id, _tenant(request))
    return Response(status_code=204)


@router.post("/webhooks/{webhook_id}/secret", **described("rotate_secret"))
async def rotate_secret(request: Request, webhook_id: UUID) -> Response:
    """Make a new secret. It is shown this once; the one before it signs too for another day."""
    return _secret(*await _control(request).rotate(webhook_id, _tenant(request)))


@router.post("/webhooks/{webhook_id}/test", **described("test_webhook"))
async def test(request: Request, webhook_id: UUID) -> Response:
    """Send the event `webhook.test`, even if the endpoint is disabled."""
    return _json(delivery_body(await _control(request).test(webhook_id, _tenant(request))), status_code=202)


@router.get("/webhooks/{webhook_id}/deliveries", **described("list_deliveries"))
async def deliveries(
    request: Request,
    webhook_id: UUID,
    status: Annotated[
        Literal["pending", "delivered", "failed"] | None, Query(description="Only in this state.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Deliveries a page.")] = 50,
    cursor: Annotated[UUID | None, Query(description="`next_cursor` of the page before.")] = None,
) -> Response:
    """Deliveries to an endpoint with all their tries, newest first."""
    found = await _control(request).deliveries(
        webhook_id, _tenant(request), before=cursor, status=status, limit=limit + 1
    )
    page = found[:limit]
    return _json(
        {
            "deliveries": [delivery_body(delivery) for delivery in page],
            "next_cursor": str(page[-1].id) if len(found) > limit else None,
        }
    )


@router.post("/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver", **described("redeliver"))
async def redeliver(request: Request, webhook_id: UUID, delivery_id: UUID) -> Response:
    """Send a delivery again, at once and with all its tries; its `webhook-id` stays."""
    delivery = await _control(request).redeliver(delivery_id, _tenant(request), endpoint_id=webhook_id)
    return _json(delivery_body(delivery), status_code=202)


@router.get("/jobs/{job_id}/deliveries", **described("job_deliveries"))
async def job_deliveries(request: Request, job_id: UUID) -> Response:
    """Who was told of this job, and what came of it, oldest first."""
    found = await _control(request).of_job(job_id, _tenant(request))
    return _json({"deliveries": [delivery_body(delivery) for delivery in found], "next_cursor": None})


@router.post("/jobs/{job_id}/deliveries/{delivery_id}/redeliver", **described("redeliver_of_job"))
async def redeliver_of_job(request: Request, job_id: UUID, delivery_id: UUID) -> Response:
    """The same for a delivery to the URL that the job has brought along."""
    delivery = await _control(request).redeliver(delivery_id, _tenant(request), job_id=job_id)
    return _json(delivery_body(delivery), status_code=202)


def endpoint_body(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint in wire form, without its secret."""
    return {
        "id": str(endpoint.id),
        "url": endpoint.url,
        "events": endpoint.events,
        "model_name": endpoint.model_name,
        "enabled": endpoint.enabled,
        "created_at": endpoint.created_at,
        "disabled_at": endpoint.disabled_at,
        "disabled_reason": endpoint.disabled_reason,
    }


def delivery_body(delivery: Delivery) -> dict[str, Any]:
    """A delivery in wire form."""
    return {
        "id": str(delivery.id),
        "webhook_id": delivery.endpoint_id and str(delivery.endpoint_id),
        "url": delivery.url,
        "message_id": delivery.message_id,
        "event": delivery.event,
        "job_id": delivery.job_id and str(delivery.job_id),
        "model_name": delivery.model_name,
        "status": delivery.status,
        "at": delivery.at,
        "created_at": delivery.created_at,
        "finished_at": delivery.finished_at,
        "next_try_at": delivery.next_at if delivery.status == "pending" else None,
        "tries": delivery.tries,
        "attempts": delivery.attempts,
    }


def _model_name(value: Any, pointer: str) -> str | None:
    return None if value is None else parse_sought(value, pointer)


_FIELDS = {"url": parse_text, "events": parse_events, "model_name": _model_name, "enabled": parse_bool}


async def _fields(request: Request, *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    body = await read_body(request, context_of(request), max_bytes=MAX_BODY_BYTES)
    fields = parse_fields(parse_json(body), _FIELDS, required=required)
    if not fields:
        raise invalid("", f"must have one of {', '.join(_FIELDS)}")
    return fields


def _control(request: Request) -> WebhookControl:
    return context_of(request).webhooks


def _tenant(request: Request) -> str:
    return caller_of(request).tenant


def _secret(secret: str, previous_until: datetime | None) -> Response:
    return _json({"secret": secret, "previous_valid_until": previous_until})


def _json(content: dict[str, Any], *, status_code: int = 200) -> Response:
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), status_code=status_code, media_type=JSON)
