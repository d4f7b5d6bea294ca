"""Reads the body of a request, within bounds of size, time and memory."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request

from satellite.api.context import ApiContext, Load
from satellite.errors import (
    BodyTimeout,
    BodyTooLarge,
    Busy,
    ClientClosed,
    InvalidRequest,
    UnsupportedEncoding,
    UnsupportedMediaType,
)

# Where the scope has what the body of a request takes; given back when the request ends (`middleware.py`).
HELD = "satellite.held"
_EITHER = 47  # what zlib calls window bits: gzip, or the zlib stream that HTTP calls deflate
_ENCODINGS = ("gzip", "deflate")


class Held:
    """The part of an ingress's memory that the body of one request takes.

    Args:
        load: where it is added up.
        limit_bytes: what all of them may take.
    """

    def __init__(self, load: Load, limit_bytes: int) -> None:
        self._load = load
        self._limit_bytes = limit_bytes
        self._bytes = 0

    def add(self, count: int) -> None:
        """Take more of it.

        Raises:
            Busy: there is no more.
        """
        if self._load.bodies_bytes + count > self._limit_bytes:
            raise Busy(
                f"this ingress holds {self._limit_bytes} bytes of request bodies "
                "(SATELLITE_MAX_BODIES_BYTES); send it again later, or send less at a time",
                retry_after_s=1,
            )
        self._load.bodies_bytes += count
        self._bytes += count

    def release(self) -> None:
        """The request has ended."""
        self._load.bodies_bytes -= self._bytes
        self._bytes = 0


async def read_body(
    request: Request, context: ApiContext, *, max_bytes: int | None = None, only_json: bool = True
) -> bytes:
    """Read a body, and decompress it.

    Args:
        request: whose body was not read yet.
        context: its settings bound size and time.
        max_bytes: of the body, before and after it is decompressed; None: `max_body_bytes`.
        only_json: refuse another content type.

    Raises:
        UnsupportedMediaType: it has to be JSON and has another content type.
        UnsupportedEncoding: it is compressed otherwise than with gzip or deflate.
        BodyTooLarge: it is larger than `max_bytes`. What is announced as too large is not read at all, and
            what turns out to be is not read to its end.
        BodyTimeout: it does not come in time.
        Busy: this ingress holds too much already.
        InvalidRequest: it does not decompress.
        ClientClosed: the caller hung up.
    """
    settings = context.settings
    max_bytes = max_bytes or settings.max_body_bytes
    headers = headers_of(request)
    if only_json:
        _require_json(headers)
    encoding = headers.get(b"content-encoding")
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:20]) > max_bytes:
        raise _too_large(max_bytes)
    body = await _in_time(_read(request, context, max_bytes), settings.body_timeout_s)
    if encoding is None:
        return body
    # In a thread: zlib lets go of the interpreter meanwhile.
    plain = await asyncio.to_thread(decompress, body, encoding.decode("latin-1"), max_bytes)
    _held(request, context).add(len(plain))
    return plain


async def _in_time(reading: Coroutine[Any, Any, bytes], timeout_s: float) -> bytes:
    """As `asyncio.timeout`, which takes as long as all the rest of reading a small body."""
    task = asyncio.current_task()
    assert task is not None
    late = False

    def give_up() -> None:
        nonlocal late
        late = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(timeout_s, give_up)
    try:
        return await reading
    except asyncio.CancelledError:
        if not late or task.uncancel():
            raise  # somebody else has cancelled it, too
        raise BodyTimeout(
            f"the body did not come within {timeout_s:g} s (SATELLITE_BODY_TIMEOUT_S)"
        ) from None
    finally:
        timer.cancel()


async def _read(request: Request, context: ApiContext, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientClosed("the caller hung up before the end of the body")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        more = message.get("more_body", False)
        if not more and not chunks:
            return chunk  # it came with its request, as nearly all do: no larger than the server's buffer
        _held(request, context).add(len(chunk))
        chunks.append(chunk)
        if not more:
            return b"".join(chunks)


def headers_of(request: Request) -> dict[bytes, bytes]:
    """The headers, names in lower case; Starlette's own encode and compare all of them at every look."""
    return dict(request.scope["headers"])


def _require_json(headers: dict[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", b"application/json").decode("latin-1")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType(
            f"the body is {media_type[:80]!r}; send JSON with Content-Type: application/json"
        )


def _held(request: Request, context: ApiContext) -> Held:
    scope: Any = request.scope
    held: Held | None = scope.get(HELD)
    if held is None:
        held = scope[HELD] = Held(context.load, context.settings.max_bodies_bytes)
    return held


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {max_bytes} bytes (SATELLITE_MAX_BODY_BYTES)")


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undo a request's `Content-Encoding`.

    Raises:
        UnsupportedEncoding: it is another one than gzip or deflate.
        InvalidRequest: the body is not what it says.
        BodyTooLarge: what comes out is larger than `max_bytes`; no more than that is ever made.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _ENCODINGS:
        raise UnsupportedEncoding(f"Content-Encoding {encoding[:80]!r}: send gzip, deflate or none")
    stream = zlib.decompressobj(_EITHER)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the body does not decompress as {encoding}: {error}") from None
    if len(plain) > max_bytes:
        raise BodyTooLarge(f"the body decompresses to more than {max_bytes} bytes (SATELLITE_MAX_BODY_BYTES)")
    if not stream.eof or stream.unused_data:
        raise InvalidRequest(f"the body is not one whole {encoding} stream")
    return plain
