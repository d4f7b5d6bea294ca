"""The routes that carry the load, served before FastAPI sees them.

FastAPI's layers around an endpoint (middlewares, matching, dependencies) cost more than these endpoints do
(docs/PERFORMANCE.md). A request of the plain form goes straight to its endpoint. Every other one, a malformed
id or another method say, goes on to FastAPI, which has the same endpoints and answers as if this module were
not here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from satellite.api import inference, oip
from satellite.api.middleware import ROUTE
from satellite.api.problems import answer_error
from satellite.errors import SatelliteError

Endpoint = Callable[[Request], Awaitable[Response]]
Hot = tuple[Endpoint, str]  # and the template of its route, as FastAPI has it

PREFIX = "/api/v1/inference"
RESULT = f"{PREFIX}/result/"
RESULT_ROUTE = f"{RESULT}{{job_id}}"
INFER_ROUTE = "/v2/models/{model_name}/infer"
VERSION_INFER_ROUTE = "/v2/models/{model_name}/versions/{model_version}/infer"
_INFER = re.compile(r"/v2/models/(?P<name>[^/]+)(/versions/(?P<version>[^/]+))?/infer")
_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WAIT = re.compile(rb"(?:wait_s=(?P<wait_s>[0-9]{1,9}(?:\.[0-9]{1,9})?))?")


class HotRoutes:
    """An ASGI application before another one.

    Args:
        app: the application that answers everything else.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._posts: dict[str, Hot] = {
            path: (endpoint, path)
            for path, endpoint in (
                (f"{PREFIX}/submit", inference.submit),
                (f"{PREFIX}/predict", inference.predict),
            )
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        hot = self._find(scope) if scope["type"] == "http" else None
        if hot is None:
            await self._app(scope, receive, send)
            return
        endpoint, scope[ROUTE] = hot
        scope["app"] = self._app
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except SatelliteError as error:
            response = answer_error(request, error)
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> Hot | None:
        path: str = scope["path"]
        if scope["method"] == "POST":
            return self._posts.get(path) or _infer(path)
        if scope["method"] == "GET" and path.startswith(RESULT):
            return _result(path[len(RESULT) :], scope["query_string"])
        return None


def _result(job_id: str, query: bytes) -> Hot | None:
    """The endpoint for one job; None if the request is not of the plain form."""
    wait = _WAIT.fullmatch(query)
    if wait is None or not _JOB_ID.fullmatch(job_id):
        return None
    id_, wait_s = UUID(job_id), float(wait["wait_s"] or 0)
    return lambda request: inference.result(request, id_, wait_s), RESULT_ROUTE


def _infer(path: str) -> Hot | None:
    """The endpoint for one model of the Open Inference Protocol; None if the path is another."""
    match = _INFER.fullmatch(path)
    if match is None:
        return None
    name, version = match["name"], match["version"] or ""
    route = VERSION_INFER_ROUTE if version else INFER_ROUTE
    return lambda request: oip.infer(request, name, version), route


class RouteName(BaseRoute):
    """Tells Serve, which names requests in its metrics by their route, that of a hot one in one look."""

    def __init__(self, path: str, *, prefix: str | None = None, method: str) -> None:
        self.path = path
        self.methods = {method}
        self._prefix = prefix

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's routes do."""
        path: Any = scope.get("path", "")
        found = path == self.path if self._prefix is None else path.startswith(self._prefix)
        return (Match.FULL if found else Match.NONE), {}


ROUTE_NAMES: Sequence[RouteName] = (
    RouteName(f"{PREFIX}/predict", method="POST"),
    RouteName(f"{PREFIX}/submit", method="POST"),
    RouteName(RESULT_ROUTE, prefix=RESULT, method="GET"),
)
