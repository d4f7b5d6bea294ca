"""Reads and checks the JSON body of an inference request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import orjson
from starlette.requests import Request

from satellite.errors import BodyTooLarge, InvalidJSON, InvalidRequest, UnsupportedMediaType

_KEYS = {"model_name": str, "data": object, "config": dict, "store": bool, "wait_s": (int, float)}


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceBody:
    """The envelope of a request; `data` and `config` are checked by the model's own schema later."""

    model_name: str
    data: Any
    config: dict[str, Any]
    store: bool
    wait_s: float | None


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read a JSON body.

    Raises:
        UnsupportedMediaType: it has another content type.
        BodyTooLarge: it is larger than `max_bytes`. What is announced as too large is not read at all, and
            what turns out to be is not read to its end.
    """
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(
            f"the body is {media_type[:80]!r}; send JSON with Content-Type: application/json"
        )
    too_large = BodyTooLarge(f"the body is larger than {max_bytes} bytes (SATELLITE_MAX_BODY_BYTES)")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def parse_json(body: bytes | str) -> Any:
    """Parse JSON strictly: no NaN, no infinity, bounded depth.

    Raises:
        InvalidJSON: it is not JSON; the message says where.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJSON(f"{error} (NaN and infinity are not JSON)") from None


def parse_inference(value: Any) -> InferenceBody:
    """Check the envelope of an inference request.

    Raises:
        InvalidRequest: a key is missing, unknown or of the wrong type.
    """
    if not isinstance(value, dict):
        raise _invalid("", f"must be an object with {', '.join(_KEYS)}")
    fields = cast("dict[str, Any]", value)
    for key, item in fields.items():
        if key not in _KEYS:
            raise _invalid(f"/{key[:80]}", f"unknown key; known keys: {', '.join(_KEYS)}")
        if not isinstance(item, _KEYS[key]) or (key == "wait_s" and isinstance(item, bool)):
            raise _invalid(f"/{key}", f"must be {_describe(key)}")
    for key in ("model_name", "data"):
        if key not in fields:
            raise _invalid(f"/{key}", "is missing")
    wait_s = fields.get("wait_s")
    return InferenceBody(
        model_name=fields["model_name"],
        data=fields["data"],
        config=fields.get("config", {}),
        store=fields.get("store", False),
        wait_s=None if wait_s is None else float(wait_s),
    )


def _describe(key: str) -> str:
    return {
        "model_name": "a string",
        "config": "an object",
        "store": "true or false",
        "wait_s": "a number of seconds",
    }[key]


def _invalid(pointer: str, detail: str) -> InvalidRequest:
    return InvalidRequest(
        f"{pointer or 'the body'}: {detail}", errors=[{"pointer": pointer, "detail": detail}]
    )
