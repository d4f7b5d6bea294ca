"""Pure ASGI middleware: gives every request an id, counts it, and answers every error nobody foresaw."""

from __future__ import annotations

import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from satellite.api.problems import unforeseen
from satellite.api.reading import HELD
from satellite.discreet import discreet
from satellite.metrics import Metrics

# Anything else a client sends could forge a log line or a header.
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{1,64}")

# Where the hot routes put their template in the scope; FastAPI puts the route itself into `route`.
ROUTE = "satellite.route"
OTHER = "other"  # what a client made up is no label
_METHODS = {name: name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_CLASSES = {status: f"{status // 100}xx" for status in range(100, 600)}
UNANSWERED = "none"
# No browser shall take an answer for something else, or put it into another page.
_SECURE = [(b"x-content-type-options", b"nosniff"), (b"x-frame-options", b"DENY")]
# What is a tenant's own stays out of every cache.
_PRIVATE = ("/api/", "/v2/")
_NO_STORE = (b"cache-control", b"no-store")

logger = logging.getLogger(__name__)


class RequestMiddleware:
    """The outermost layer.

    Puts `request_id` into the scope (the caller's X-Request-ID if it is acceptable, else a new one), sends it
    back, and turns an unknown exception into a problem that tells the caller nothing but that id. Counts
    requests, and for how long each waited for its answer to begin: a stream may go on for hours.

    Args:
        app: what it wraps.
        metrics: where requests and open WebSockets are counted.
        echo: send the id back with HTTP answers; False where whatever serves the application does so.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, echo: bool = True) -> None:
        self._app = app
        self._requests = metrics.http_request_seconds
        self._sockets = metrics.websockets_open
        self._echo = echo

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        given = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
                break
        request_id = given.decode() if _ACCEPTABLE.fullmatch(given) else uuid4().hex[:20]
        scope["request_id"] = request_id

        started = finished = False

        async def send_with_id(message: Message) -> None:
            nonlocal started, finished
            if message["type"] in ("http.response.start", "websocket.accept"):
                started = True
                if message["type"] == "http.response.start":
                    self._count(scope, began, _CLASSES.get(message["status"], OTHER))
                    _secure(scope, message)
                if self._echo or message["type"] == "websocket.accept":
                    MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                finished = True

        is_socket = scope["type"] == "websocket"
        if is_socket:
            self._sockets.add()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            logger.error(
                "An error nobody foresaw.",
                exc_info=discreet(error),
                extra={"action": "internal_error", "request_id": request_id},
            )
            if is_socket or (started and not finished):
                raise discreet(error) from None  # the server closes the connection, and logs it, too
            if not started:
                request = Request(scope)
                await unforeseen(request, error)(scope, receive, send_with_id)
        finally:
            if (held := scope.get(HELD)) is not None:
                held.release()
            if is_socket:
                self._sockets.add(count=-1)
            elif not started:
                self._count(scope, began, UNANSWERED)

    def _count(self, scope: Scope, began: float, status: str) -> None:
        route = scope.get(ROUTE) or getattr(scope.get("route"), "path", OTHER)
        self._requests.observe(perf_counter() - began, route, _METHODS.get(scope["method"], OTHER), status)


def _secure(scope: Scope, message: Message) -> None:
    headers = [*message.get("headers", ()), *_SECURE]
    if scope["path"].startswith(_PRIVATE) and not any(name == b"cache-control" for name, _ in headers):
        headers.append(_NO_STORE)
    message["headers"] = headers
