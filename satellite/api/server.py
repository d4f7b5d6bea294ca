"""How uvicorn serves the application: its protocols, within bounds that it has no settings for.

What a peer sends can do harm before it is a request or a message: a head without end, a million fragments, a
flood of pings whose answers nobody reads. Serve starts uvicorn by itself; `deployments/server.py` hands it
these.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from satellite.settings import Settings

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
# Sent before the answer to the one before them. uvicorn reads on with each answer, whatever waits already.
MAX_PIPELINED = 100
# For the first request of a connection, the head of each, and the rest of a body that was answered already.
HEAD_TIMEOUT_S = 15.0

# A body that was answered before it was whole is read on for that long: a caller who sends a little too
# much still reads why. But not as fast as it comes.
THROW_AWAY_PAUSE_S = 0.05

MAX_FRAGMENTS = 1000  # of one message: each costs ten times its bytes, and more
MAX_PARTIAL_BYTES = 64 * 1024 * 1024  # of messages that have not come whole, over all sockets
SMALL_PARTIAL_BYTES = 64 * 1024  # of one socket, which is never blamed for all of them
# What a socket sends is handed on in pieces that take about this long, so that others have their turn. While
# it sends more than that, it waits its turn among all that do, and the others have so many times as long.
# Pieces are small to begin with: of the smallest messages 16 KiB are 2,300, and as many objects of 500 bytes.
TURN_S = 0.001
REST = 9
MIN_PIECE_BYTES, FIRST_PIECE_BYTES, MAX_PIECE_BYTES = 512, 2 * 1024, 16 * 1024
_NOTHING = memoryview(b"")

CLOSE_TOO_BIG = 1009
CLOSE_TRY_LATER = 1013


def server_options(settings: Settings) -> dict[str, Any]:
    """The arguments of `uvicorn.Config` that make it bounded."""
    return {
        "http": BoundedHttp,
        "ws": BoundedSocket,
        # A message above the limit is told so, before its socket is closed. One far above is not read at all.
        "ws_max_size": 2 * settings.max_body_bytes,
        # One packet could hold a thousand times its size; and a thousand watchers are compressed for, each.
        "ws_per_message_deflate": False,
    }


class BoundedHttp(HttpToolsProtocol):
    """HTTP/1.1 with heads that are bounded in size, number and time."""

    _in_head = _in_body = _lingers = False
    _heads = 0
    _head_bytes = 0
    _patience: TimerHandle | None = None
    _pause: TimerHandle | None = None
    _partial: tuple[Any, bool] | None = None  # the request whose body is not whole, and its `keep_alive`

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A peer has connected, and should say what it wants."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something has come: parts of a head, a body, or several of them."""
        in_head, heads = self._in_head, self._heads
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_body and not self.pipeline:
            self._expect_more(self.cycle)
        if self._in_head:
            if self._patience is None:
                self._wait()
            self._head_bytes = self._head_bytes + len(data) if in_head and heads == self._heads else 0
            if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """The first byte of a head has come."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._stop_waiting()
        self._in_head, self._in_body = False, True
        self._heads += 1
        if self._lingers or len(self.headers) > MAX_HEADERS or len(self.pipeline) >= MAX_PIPELINED:
            # For the parser, which has the next method called.
            raise ValueError("too many headers, or requests, or one after the last one")
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what has come, and close; without a word where that would stand among other answers."""
        if self.pipeline or self._lingers:
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def on_message_complete(self) -> None:
        """The body is whole."""
        self._stop_waiting()
        self._in_body = False
        if self._lingers:
            self.transport.close()
        elif self._partial is not None:
            (cycle, keep_alive), self._partial = self._partial, None
            if not cycle.response_started:
                cycle.keep_alive = keep_alive
        super().on_message_complete()

    def linger(self) -> None:
        """Close, but not while the body still comes: the peer would lose the answer."""
        if self._in_body:
            self._lingers = True
        else:
            self.transport.close()

    def _expect_more(self, cycle: Any) -> None:
        """An answer before the end of the body is the last one on its connection.

        A proxy would send somebody else's request behind that body, to wait until all of it is thrown away.
        """
        if self._partial is None and cycle is not None and not cycle.response_started:
            self._partial = cycle, cycle.keep_alive
            cycle.keep_alive = False
            cycle.transport = _Lingering(self)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        super().on_body(body)
        cycle: Any = self.cycle  # None while the first request asks for a WebSocket
        if cycle is not None and cycle.response_complete and self._pause is None:
            self.transport.pause_reading()
            self._pause = self.loop.call_later(THROW_AWAY_PAUSE_S, self._read_on)

    def _read_on(self) -> None:
        self._pause = None
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def on_response_complete(self) -> None:
        """The answer is sent; what is left of the body is thrown away, but not for ever."""
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self._wait()

    def _wait(self) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if not self.transport.is_closing():
            self.transport.close()


class _Lingering:
    """The transport of a request whose answer may be sent before its body has come."""

    def __init__(self, protocol: BoundedHttp) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.linger


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket that takes its turn, and reads no more than is taken from it and by its peer."""

    _partial_of_all = 0  # of the class, as the next
    _next_turn_s = 0.0
    _partial = 0
    _fragments = 0
    _unread = _NOTHING
    _piece_bytes = FIRST_PIECE_BYTES
    _rest: TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has gone."""
        self._unread = _NOTHING
        if self._rest is not None:
            self._rest.cancel()
        self._set_partial(0)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Something has come: parts of a frame, or thousands of them."""
        self._unread = memoryview(bytes(self._unread) + data if self._unread else data)
        self._hand_on()

    async def receive(self) -> Any:
        """The next message, for the application."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._hand_on()
        return message

    def pause_writing(self) -> None:
        """The peer does not read: its pings are not answered, nor anything else, before it does."""
        super().pause_writing()
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        self._hand_on()

    def handle_text(self, event: Frame) -> None:
        """The first fragment of a text, or all of it."""
        self._fragments = 0
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """The first fragment of a binary message, or all of it."""
        self._fragments = 0
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """A further fragment."""
        self._fragments += 1
        if self._fragments > MAX_FRAGMENTS:
            self._fail(CLOSE_TOO_BIG, f"a message may have {MAX_FRAGMENTS} fragments")
            return
        super().handle_cont(event)

    def _hand_on(self) -> None:
        """Hand on what has come, while it is taken and the peer reads; then let more of it come."""
        if self._rest is not None:
            return
        while self._unread and self._is_taken():
            piece, self._unread = self._unread[: self._piece_bytes], self._unread[self._piece_bytes :]
            began_s = time.thread_time()
            super().data_received(bytes(piece))
            took_s = time.thread_time() - began_s
            if self.transport.is_closing():
                self._unread = _NOTHING
                return
            self._set_partial(len(self.conn.reader.buffer) + sum(map(len, self.frames)))
            if self._partial_of_all > MAX_PARTIAL_BYTES and self._partial > SMALL_PARTIAL_BYTES:
                self._fail(CLOSE_TRY_LATER, "too many messages are coming in parts; connect again later")
                return
            if took_s > TURN_S:
                self._piece_bytes = max(self._piece_bytes // 2, MIN_PIECE_BYTES)
                now_s = time.monotonic()
                next_s = BoundedSocket._next_turn_s = max(BoundedSocket._next_turn_s, now_s) + REST * took_s
                self._rest = self.loop.call_later(next_s - now_s, self._rested)
                break
            self._piece_bytes = min(self._piece_bytes * 2, MAX_PIECE_BYTES)
        if self.transport.is_closing():
            return
        if self._rest is None and not self._unread and self._is_taken():
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _is_taken(self) -> bool:
        return not self.read_paused and self.writable.is_set()

    def _rested(self) -> None:
        self._rest = None
        self._hand_on()

    def _set_partial(self, count: int) -> None:
        BoundedSocket._partial_of_all += count - self._partial
        self._partial = count

    def _fail(self, code: int, reason: str) -> None:
        self._unread = _NOTHING
        self.conn.fail(code, reason)
        self.handle_parser_exception()
