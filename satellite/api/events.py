"""`GET /api/v1/events`: the steps of one job, of a model's jobs, or of all, as server-sent events.

The WebSocket carries the same events with the same ids. A client that was cut off sends the last id it has
seen, to whichever ingress, and gets what it missed, once and in order. Ids of one job's stream are
`attempt.rank`, those of the others are positions in the event log.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from satellite.access.callers import Caller
from satellite.api.body import invalid
from satellite.api.context import ApiContext, caller_of, context_of
from satellite.api.openapi import described
from satellite.api.problems import problem
from satellite.errors import SatelliteError, Unauthenticated
from satellite.watching import BEFORE_ALL, Event

router = APIRouter(prefix="/api/v1/events", tags=["jobs"])

# Proxies and browsers end a connection on which nothing is sent for long.
PING_INTERVAL_S = 15.0
RETRY_MS = 1000

_JOB_ID = re.compile(r"(\d{1,9})\.(\d)")
_LOG_ID = re.compile(r"(\d{1,18})-(\d{1,18})")


@router.get("", **described("events"))
async def events(
    request: Request,
    job_id: Annotated[UUID | None, Query(description="The steps of this job, to its end.")] = None,
    model_name: Annotated[str | None, Query(description="The steps of all jobs of this model.")] = None,
    last_event_id: Annotated[
        str | None, Query(description="As the header `Last-Event-ID`, which wins: go on after this event.")
    ] = None,
) -> StreamingResponse:
    """Server-sent events. Without `job_id` and `model_name`: the steps of all jobs, from now on."""
    context = context_of(request)
    last_event_id = request.headers.get("last-event-id", last_event_id)
    if job_id is not None and model_name is not None:
        raise invalid("/query", "give job_id or model_name, not both")
    after = parse_event_id(last_event_id, of_job=job_id is not None)
    if model_name is not None:
        context.service.catalog.find(model_name)
    caller = caller_of(request)
    await context.watching.check(job_id, caller.tenant, after)  # an error now, not in the middle of a stream
    stream = await open_stream(context, caller.tenant, job_id, model_name, after)
    return StreamingResponse(
        _sent(context, caller, stream, request.scope.get("request_id")),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def open_stream(
    context: ApiContext,
    tenant: str,
    job_id: UUID | None,
    model_name: str | None,
    after: tuple[int, int] | None,
) -> AsyncGenerator[Event]:
    """A tenant's events, of a job, a model or all, after the one with this id (None: all, or from now on)."""
    if job_id is not None:
        return context.watching.job_events(job_id, tenant, after=after or BEFORE_ALL)
    after = after or await context.watching.now()
    return context.watching.log_events(tenant, model_name=model_name, after=after)


def parse_event_id(text: Any, *, of_job: bool) -> tuple[int, int] | None:
    """The numbers in an event's id.

    Raises:
        InvalidRequest: it is not the id of an event of such a stream.
    """
    if text is None or text == "":
        return None
    match = (_JOB_ID if of_job else _LOG_ID).fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise invalid("/last-event-id", f"{str(text)[:40]!r} is not the id of an event of this stream")
    return int(match[1]), int(match[2])


async def _sent(
    context: ApiContext, caller: Caller, stream: AsyncGenerator[Event], request_id: str | None
) -> AsyncGenerator[bytes]:
    following = asyncio.ensure_future(anext(stream, None))
    draining = asyncio.ensure_future(context.service.draining.wait())
    revoked = asyncio.ensure_future(context.access.ended(caller)) if caller.key_id else asyncio.Future[None]()
    try:
        yield f"retry: {RETRY_MS}\n\n".encode()
        while True:
            done, _ = await asyncio.wait(
                {following, draining, revoked}, timeout=PING_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED
            )
            if following in done:
                event = following.result()
                if event is None:
                    return
                yield b"id: %b\nevent: job\ndata: %b\n\n" % (event.id.encode(), event.body)
                following = asyncio.ensure_future(anext(stream, None))
            elif revoked in done:
                raise Unauthenticated("the API key is no longer valid")
            elif draining in done:
                return  # the client comes back with its last id, to an ingress that stays
            else:
                yield b": ping\n\n"
    except SatelliteError as error:
        yield b"event: problem\ndata: %b\n\n" % orjson.dumps(problem(error, request_id))
    finally:
        draining.cancel()
        revoked.cancel()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await stream.aclose()
