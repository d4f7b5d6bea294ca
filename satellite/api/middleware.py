"""Pure ASGI middleware: gives every request an id, and every error nobody foresaw an answer."""

from __future__ import annotations

import logging
import re
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from satellite.api.problems import problem_response
from satellite.errors import SatelliteError

# Anything else a client sends could forge a log line or a header.
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{1,64}")


logger = logging.getLogger(__name__)


class RequestMiddleware:
    """The outermost layer.

    Puts `request_id` into the scope (the caller's X-Request-ID if it is acceptable, else a new one), sends it
    back, and turns an unknown exception into a problem that tells the caller nothing but that id.

    Args:
        app: what it wraps.
        echo: send the id back with HTTP answers; False where whatever serves the application does so.
    """

    def __init__(self, app: ASGIApp, *, echo: bool = True) -> None:
        self._app = app
        self._echo = echo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
                break
        request_id = given.decode() if _ACCEPTABLE.fullmatch(given) else uuid4().hex[:20]
        scope["request_id"] = request_id

        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] in ("http.response.start", "websocket.accept"):
                started = True
                if self._echo or message["type"] == "websocket.accept":
                    MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            logger.error(
                "An error nobody foresaw.",
                exc_info=error,
                extra={"action": "internal_error", "request_id": request_id},
            )
            if started or scope["type"] == "websocket":
                raise
            answer = problem_response(
                SatelliteError(
                    f"Something went wrong here. The log has the details under request_id {request_id}."
                ),
                Request(scope),
            )
            await answer(scope, receive, send_with_id)
