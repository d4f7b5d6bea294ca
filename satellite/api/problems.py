"""Errors as RFC 9457 `application/problem+json`, over HTTP and WebSocket; under `/v2` in its form."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from satellite.api.reading import HELD
from satellite.errors import BadRequest, Busy, InvalidRequest, MethodNotAllowed, NotFound, SatelliteError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# The Open Inference Protocol has a form of its own for errors, and 400 for every request that does not fit.
_OIP_PATH = re.compile(r"/v2(/|$)")


def problem(error: SatelliteError, request_id: str | None) -> dict[str, Any]:
    """The problem object of an error."""
    body: dict[str, Any] = {
        "type": f"urn:satellite:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail or error.title,
        "code": error.code,
        "request_id": request_id,
    }
    if error.errors:
        body["errors"] = error.errors
    if error.retry_after_s is not None:
        body["retry_after_s"] = error.retry_after_s
    return body


def problem_response(error: SatelliteError, request: HTTPConnection) -> Response:
    """The HTTP answer for an error."""
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if _OIP_PATH.match(request.scope["path"]):
        status = HTTPStatus.BAD_REQUEST if error.status == HTTPStatus.UNPROCESSABLE_ENTITY else error.status
        content = orjson.dumps({"error": error.detail or error.title})
        return Response(content, status_code=status, media_type="application/json", headers=headers)
    return Response(
        orjson.dumps(problem(error, request.scope.get("request_id"))),
        status_code=error.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Answer every error as a problem."""
    # Starlette looks a handler up by the exception's class: the tree's base serves the whole tree.
    app.add_exception_handler(SatelliteError, _on_satellite_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    # Starlette answers, and raises it again for `RequestMiddleware`, which logs it.
    app.add_exception_handler(Exception, unforeseen)


def answer_error(request: Request, error: SatelliteError) -> Response:
    """The HTTP answer for an error; one that is not the caller's fault is logged."""
    if isinstance(error, BadRequest | NotFound) and (held := request.scope.get(HELD)) is not None:
        held.refuse()
    # What a flood is answered with is no line each: it would fill the disk.
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Busy):
        logger.warning(
            "%s", error, extra={"action": error.code, "request_id": request.scope.get("request_id")}
        )
    return problem_response(error, request)


def unforeseen(request: Request, _error: Exception) -> Response:
    """The answer for an error that nobody foresaw: nothing but where to find it."""
    request_id = request.scope.get("request_id")
    detail = f"Something went wrong here. The log has the details under request_id {request_id}."
    return problem_response(SatelliteError(detail), request)


async def _on_satellite_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SatelliteError)
    return answer_error(request, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code == HTTPStatus.NOT_FOUND:
        answer: SatelliteError = NotFound(f"there is nothing at {path}; see /docs")
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        answer = MethodNotAllowed(f"{path} takes {allowed or 'another method'}, not {request.method}")
    else:
        answer = SatelliteError(str(error.detail))
    response = problem_response(answer, request)
    response.headers.update(error.headers or {})
    return response


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        {"pointer": "/" + "/".join(str(part) for part in e["loc"]), "detail": str(e["msg"])}
        for e in error.errors()
    ]
    first = problems[0]
    return problem_response(
        InvalidRequest(f"{first['pointer']}: {first['detail']}", errors=problems), request
    )
