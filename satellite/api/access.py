"""`/api/v1/me` and `/api/v1/tickets`: whom a key speaks for, and a ticket for an address."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from satellite.access.callers import Scope
from satellite.api.context import caller_of, context_of
from satellite.api.openapi import problems
from satellite.api.schemas import Me, Ticket

router = APIRouter(prefix="/api/v1", tags=["access"])


@router.get("/me", response_model=Me)
async def me(request: Request) -> dict[str, Any]:
    """Whom this call is made for, and what it may do."""
    caller = caller_of(request)
    return {
        "tenant": caller.tenant,
        "scopes": [scope for scope in Scope if scope in caller.scopes],
        "keys": "on" if context_of(request).access.keys_on else "off",
        "key_id": caller.key_id,
        "key_name": caller.key_name,
        "expires_at": caller.expires_at,
    }


@router.post(
    "/tickets",
    response_model=Ticket,
    status_code=201,
    responses=problems(503, s503="Keys are off, so that nothing needs a ticket."),
)
async def ticket(request: Request) -> dict[str, Any]:
    """A ticket for `?ticket=` of `/api/v1/ws` and `/api/v1/events`, for where no header can be sent.

    It is valid for 30 s and for one use, and may do what the key may that it was made with.
    """
    text, ends_at_s = context_of(request).access.make_ticket(caller_of(request))
    return {"ticket": text, "expires_at": datetime.fromtimestamp(ends_at_s, UTC)}
