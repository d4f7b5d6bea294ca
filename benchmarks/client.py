"""An HTTP/1.1 client that costs little: the load shares the cores with what it measures.

Requests are encoded once and sent as bytes; answers are parsed by httptools, in C. A request costs about
30 microseconds of one core, a tenth of what a general client takes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson

TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole."""

    status: int
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One load: how many a second, and how long each took."""

    count: int
    took_s: float
    times_s: tuple[float, ...]

    @property
    def per_s(self) -> float:
        return self.count / self.took_s

    @property
    def p50_ms(self) -> float:
        return self.quantile_ms(50)

    @property
    def p99_ms(self) -> float:
        return self.quantile_ms(99)

    def quantile_ms(self, percent: int) -> float:
        if len(self.times_s) < 2:
            return self.times_s[0] * 1000
        return statistics.quantiles(self.times_s, n=100)[percent - 1] * 1000


def encode(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
    """A request as it goes over the wire. `body`: JSON values, or bytes as they are."""
    content = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(content)}"]
    fields = {"Content-Type": "application/json", **(headers or {})} if content else headers or {}
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Connection(asyncio.Protocol):
    """One connection, kept open, with one request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connect to the host and port of `url`."""
        parts = urlsplit(url)
        _, connection = await asyncio.get_running_loop().create_connection(cls, parts.hostname, parts.port)
        return connection

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def send(self, request: bytes) -> Answer:
        """Send a request and return its answer.

        Raises:
            ConnectionError: the server closed the connection.
        """
        assert self._transport is not None
        if self._transport.is_closing():
            raise ConnectionError("the server has closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    # httptools

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._parser.get_status_code(), b"".join(self._body)))


async def measure(
    url: str,
    requests: Iterable[bytes],
    *,
    clients: int,
    status: int = 200,
    on_answer: Callable[[Answer], object] | None = None,
) -> Measured:
    """Send all requests over `clients` connections, each with one at a time.

    Args:
        url: where; only its host and port count.
        requests: from `encode`.
        clients: how many at once.
        status: what every answer must have.
        on_answer: gets each answer, inside the measured time.

    Raises:
        RuntimeError: an answer had another status; it holds the body.
    """
    left = iter(requests)
    times_s: list[float] = []

    async def client(connection: Connection) -> None:
        for request in left:
            began = time.perf_counter()
            answer = await connection.send(request)
            times_s.append(time.perf_counter() - began)
            if answer.status != status:
                raise RuntimeError(f"answer {answer.status}, not {status}: {answer.body[:500]!r}")
            if on_answer is not None:
                on_answer(answer)

    connections = [await Connection.open(url) for _ in range(clients)]
    try:
        began = time.perf_counter()
        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*(client(connection) for connection in connections))
        took_s = time.perf_counter() - began
    finally:
        for connection in connections:
            connection.close()
    return Measured(count=len(times_s), took_s=took_s, times_s=tuple(times_s))
