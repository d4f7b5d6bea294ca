"""The documentation of `/api/v1/webhooks`: its bodies and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from satellite.api.openapi import ENVELOPE, EVENTS_SCHEMA, body, ok, problems

DeliveryStatus = Literal["pending", "delivered", "failed"]


class WebhookInfo(BaseModel):
    """An endpoint."""

    id: UUID
    url: str
    events: list[str]
    model_name: str | None = Field(description="Only jobs of this model; null: of all.")
    enabled: bool
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None


class NewWebhook(WebhookInfo):
    """An endpoint, with its secret."""

    secret: str = Field(description="Signs its messages. Not shown again.", examples=["whsec_..."])


class WebhookList(BaseModel):
    """All endpoints."""

    webhooks: list[WebhookInfo]


class WebhookSecret(BaseModel):
    """A new secret."""

    secret: str = Field(description="Not shown again.", examples=["whsec_..."])
    previous_valid_until: datetime | None = Field(
        description="Until then messages are signed with the one before, too; null: there was none."
    )


class DeliveryAttempt(BaseModel):
    """One try of a delivery."""

    at: datetime
    status_code: int | None = Field(description="What the receiver has answered; null: nothing.")
    error: str | None = Field(description="Why it does not count as delivered; null: it does.")
    duration_s: float


class DeliveryInfo(BaseModel):
    """One message to one receiver."""

    id: UUID
    webhook_id: UUID | None = Field(description="The endpoint; null: the job has brought its own URL along.")
    url: str | None = Field(description="That URL.")
    message_id: str = Field(description="What the header `webhook-id` says, at every try.")
    event: str = Field(examples=["job.succeeded"])
    job_id: UUID | None
    model_name: str | None
    status: DeliveryStatus
    at: datetime = Field(description="When that happened of which it tells.")
    created_at: datetime
    finished_at: datetime | None
    next_try_at: datetime | None
    tries: int
    attempts: list[DeliveryAttempt]


class DeliveryPage(BaseModel):
    """One page of deliveries."""

    deliveries: list[DeliveryInfo]
    next_cursor: UUID | None


_FIELDS: dict[str, Any] = {
    "url": {"type": "string", "format": "uri", "maxLength": 2048, "examples": ["https://example.org/hook"]},
    "events": EVENTS_SCHEMA,
    "model_name": {"type": ["string", "null"], "description": "Only jobs of this model."},
    "enabled": {"type": "boolean", "default": True},
}
_NONE = problems(404, 422, 503, s404="There is no such endpoint.", s422="The id or a parameter is malformed.")
_NO_DELIVERY = problems(
    404, 422, 503, s404="There is no such endpoint, job or delivery.", s422="An id is malformed."
)


def _fields(required: list[str]) -> dict[str, Any]:
    return body(
        {
            "type": "object",
            "additionalProperties": False,
            "properties": _FIELDS,
            **({"required": required} if required else {"minProperties": 1}),
        }
    )


_OPERATIONS: dict[str, dict[str, Any]] = {
    "register": {
        "status_code": 201,
        "openapi_extra": _fields(["url"]),
        "responses": {
            **ok(NewWebhook, "Registered.", 201),
            **problems(404, 409, 503, *ENVELOPE, s409="There are as many endpoints as there may be."),
        },
    },
    "list_webhooks": {"responses": {**ok(WebhookList, "All endpoints."), **problems(503)}},
    "rotate_job_secret": {"responses": {**ok(WebhookSecret, "The new secret."), **problems(503)}},
    "get_webhook": {"responses": {**ok(WebhookInfo, "The endpoint."), **_NONE}},
    "change_webhook": {
        "openapi_extra": _fields([]),
        "responses": {
            **ok(WebhookInfo, "The endpoint, changed."),
            **problems(404, 503, *ENVELOPE, s404="There is no such endpoint or model."),
        },
    },
    "delete_webhook": {"responses": {204: {"description": "Deleted."}, **_NONE}},
    "rotate_secret": {"responses": {**ok(WebhookSecret, "The new secret."), **_NONE}},
    "test_webhook": {"status_code": 202, "responses": {**ok(DeliveryInfo, "It is sent.", 202), **_NONE}},
    "list_deliveries": {"responses": {**ok(DeliveryPage, "One page."), **_NONE}},
    "redeliver": {
        "status_code": 202,
        "responses": {
            **ok(DeliveryInfo, "It is sent again.", 202),
            **_NO_DELIVERY,
            **problems(409, s409="The endpoint is disabled."),
        },
    },
    "job_deliveries": {
        "responses": {
            **ok(DeliveryPage, "All deliveries."),
            **problems(404, 422, 503, s404="There is no such job.", s422="The id is malformed."),
        }
    },
    "redeliver_of_job": {
        "status_code": 202,
        "responses": {**ok(DeliveryInfo, "It is sent again.", 202), **_NO_DELIVERY},
    },
}


def described(operation: str) -> dict[str, Any]:
    """The keyword arguments that document a route."""
    return _OPERATIONS[operation]
