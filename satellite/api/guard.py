"""ASGI middleware: who calls, whether this call is for them, and whether a page from elsewhere makes it."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from satellite.access.access import NO_KEY, Access
from satellite.access.callers import OPERATOR, Caller
from satellite.access.callers import Scope as KeyScope
from satellite.access.rules import is_open, needed_scopes, said
from satellite.api.context import CALLER, REFUSED
from satellite.api.problems import answer_error
from satellite.errors import Forbidden, OriginRefused, SatelliteError, Unauthenticated

# A browser sends these across origins without asking, and keeps the answers from the page.
_HARMLESS = ("GET", "HEAD", "OPTIONS")
# Where a browser cannot send a header.
_TICKETED = ("/api/v1/events", "/api/v1/ws")


class Guard:
    """Puts the caller into the scope, or answers in its place.

    While keys are off, everybody on this machine may do everything: what must be kept out are pages from
    elsewhere in somebody's browser here. Their requests have another `Origin`, or (when their name was made
    to lead to this machine) another `Host`.

    Args:
        app: what it wraps.
        access: who may come in.
        allowed_origins: where pages may come from, beside this application's own address.
    """

    def __init__(self, app: ASGIApp, access: Access, allowed_origins: Collection[str]) -> None:
        self._app = app
        self._access = access
        self._origins = {origin.rstrip("/").lower() for origin in allowed_origins}
        self._hosts = {urlsplit(origin).netloc for origin in self._origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if CALLER in scope or scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        host = origin = authorization = ""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"origin":
                origin = value.decode("latin-1")
            elif name == b"host":
                host = value.decode("latin-1")
        is_socket = scope["type"] == "websocket"
        try:
            if origin and (is_socket or scope["method"] not in _HARMLESS):
                self._check_origin(origin.lower(), host.lower())
            if not self._access.keys_on:
                self._check_host(host.lower())
                scope[CALLER] = OPERATOR
                await self._app(scope, receive, send)
                return
            caller = await self._caller(scope, authorization, is_socket=is_socket)
        except SatelliteError as error:
            await _refuse(error, scope, receive, send, self._app)
            return
        scope[CALLER] = caller
        if caller is None:
            await self._app(scope, receive, send)  # an open one, or a socket that is still to say who it is
            return
        try:
            await self._access.charge(caller)
            slot = self._access.concurrency.admit(caller)
            slot.__enter__()
        except SatelliteError as error:
            await _refuse(error, scope, receive, send, self._app)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            slot.__exit__(None, None, None)

    async def _caller(self, scope: Scope, authorization: str, *, is_socket: bool) -> Caller | None:
        path = _path(scope)
        if is_socket:
            if authorization:
                return await self._access.bearer(authorization)
            return await self._access.ticket(scope["query_string"])
        method: str = scope["method"]
        open_ = is_open(method, path)
        if open_ and not authorization:
            return None
        caller = None
        if authorization:
            try:
                caller = await self._access.bearer(authorization)
            except SatelliteError:
                if not open_:
                    raise
        elif path in _TICKETED:
            caller = await self._access.ticket(scope["query_string"])
        if open_:
            return caller
        if caller is None:
            raise Unauthenticated(NO_KEY)
        check_scopes(caller, needed_scopes(method, path))
        return caller

    def _check_origin(self, origin: str, host: str) -> None:
        # Which of http and https it was, only the proxy before this knows.
        if origin in self._origins or origin.partition("://")[2] == host:
            return
        raise OriginRefused(
            f"pages from {origin[:200]} may not call this API in a browser; SATELLITE_ALLOWED_ORIGINS lists "
            "those that may"
        )

    def _check_host(self, host: str) -> None:
        if host and not _is_here(host) and host not in self._hosts:
            raise OriginRefused(
                f"this system runs without API keys and answers to localhost and to addresses, not to "
                f"{host[:200]!r}; turn keys on (SATELLITE_KEYS=on), or list the page's origin in "
                "SATELLITE_ALLOWED_ORIGINS"
            )


def check_scopes(caller: Caller, needed: Iterable[KeyScope]) -> None:
    """Check that a caller's key is for this.

    Raises:
        Forbidden: it is not.
    """
    missing = set(needed) - caller.scopes
    if missing:
        raise Forbidden(
            f"this needs a key with the scope {said(missing)}; this one has {said(caller.scopes)}"
        )


async def _refuse(error: SatelliteError, scope: Scope, receive: Receive, send: Send, app: ASGIApp) -> None:
    if scope["type"] == "http":
        await answer_error(Request(scope), error)(scope, receive, send)
    elif isinstance(error, OriginRefused):
        await WebSocketClose(code=1008, reason=error.title)(
            scope, receive, send
        )  # before it is accepted: 403
    else:
        # A browser tells a page nothing of a handshake that was refused: the socket itself says why.
        scope[CALLER], scope[REFUSED] = None, error
        await app(scope, receive, send)


def _path(scope: Scope) -> str:
    """The path below the prefix that the application is served under."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


@lru_cache(maxsize=256)  # the same few all the time
def _is_here(host: str) -> bool:
    """Whether a Host header names this machine, or an address: names are what can be made to lead here."""
    name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
