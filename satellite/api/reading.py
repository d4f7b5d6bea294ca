"""Reads the body of a request, within bounds of size, time and memory."""

from __future__ import annotations

import asyncio
import math
import time
import zlib
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request

from satellite.api.context import ApiContext, Load, caller_of
from satellite.errors import (
    BodyTimeout,
    BodyTooLarge,
    Busy,
    ClientClosed,
    InvalidRequest,
    UnsupportedEncoding,
    UnsupportedMediaType,
)
from satellite.tasks import Pace

# Where the scope has what the body of a request takes; given back when the request ends (`middleware.py`).
HELD = "satellite.held"
# From this size on it matters how long a body takes; the seconds that a sender may take with refused ones:
# at once, and then in each second.
LARGE_BYTES = 128 * 1024
REFUSED_S, REFUSED_PER_S = 0.2, 0.005
READ_S_PER_BYTE = 5e-9
_EITHER = 47  # what zlib calls window bits: gzip, or the zlib stream that HTTP calls deflate
_ENCODINGS = ("gzip", "deflate")


class Held:
    """What the body of one request takes of an ingress: memory, and time in which nobody else is served.

    Whoever sends large bodies that are no requests, again and again, is soon let do so for half a percent of
    the time; the others hardly feel it. What they send in good order is not counted.

    Args:
        load: where it is added up.
        limit_bytes: what all of them may take.
        tenant: who sends it.
    """

    def __init__(self, load: Load, limit_bytes: int, tenant: str) -> None:
        self._load = load
        self._limit_bytes = limit_bytes
        self._tenant = tenant
        self._bytes = 0  # of it that are held
        self._size = 0  # of what came, and of what it was decompressed to
        self._began_s: float | None = None
        self._took_s = 0.0

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
        self._size += count
        if self._size >= LARGE_BYTES:
            self.must_be_welcome()

    def must_be_welcome(self) -> None:
        """Whether large bodies of this sender are read at the moment.

        Raises:
            Busy: too many of them were no requests.
        """
        refused = self._load.refused.get(self._tenant)
        if refused is not None and (behind_s := refused.behind_s()) > 0:
            raise Busy(
                f"large bodies of yours were no requests: no further ones for {behind_s:.1f} s",
                retry_after_s=math.ceil(behind_s),
            )

    def is_whole(self) -> None:
        """From now on it is parsed and checked, until the loop has its next turn."""
        self._began_s = time.thread_time()
        asyncio.get_running_loop().call_soon(self._is_checked)

    def _is_checked(self) -> None:
        if self._began_s is not None:
            self._took_s += time.thread_time() - self._began_s
            self._began_s = None

    def took(self, count: int, seconds: float) -> None:
        """It was decompressed to so many bytes, which are not held any more."""
        self._size += count
        self._took_s += seconds

    def refuse(self) -> None:
        """It was no request."""
        self._is_checked()
        if self._size >= LARGE_BYTES:
            refused = self._load.refused.setdefault(self._tenant, Pace(per_s=REFUSED_PER_S, burst=REFUSED_S))
            refused.spend(self._took_s + self._size * READ_S_PER_BYTE)
            self._size = 0

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
    if length.isdigit() and int(length[:20]) >= LARGE_BYTES:
        if int(length[:20]) > max_bytes:
            raise _too_large(max_bytes)
        _held(request, context).must_be_welcome()
    body = await _in_time(_read(request, context, max_bytes), settings.body_timeout_s)
    if encoding is None:
        return body
    held = _held(request, context)
    async with context.load.decompressing:
        held.must_be_welcome()
        began_s = time.monotonic()
        try:
            # In a thread: zlib lets go of the interpreter meanwhile.
            plain = await asyncio.to_thread(decompress, body, encoding.decode("latin-1"), max_bytes)
        except BodyTooLarge:
            held.took(max_bytes, time.monotonic() - began_s)
            raise
    held.add(len(plain))
    held.is_whole()
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
            body = b"".join(chunks)
            _held(request, context).is_whole()
            return body


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
        caller = caller_of(request)
        held = scope[HELD] = Held(context.load, context.settings.max_bodies_bytes, caller.tenant)
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
