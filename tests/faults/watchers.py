"""Watchers over WebSocket and SSE, who reconnect with the last id they saw and write down every event."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import websockets

from tests.faults.evidence import TERMINAL
from tests.faults.history import Connected, EventSeen, History

EVENTS = "/api/v1/events"
# A watcher who hears nothing for this long connects again.
SILENCE_S = 15.0


class _HungUp(Exception):
    """The watcher leaves in the middle, on purpose."""


class _Watcher:
    """What both transports share: numbering, writing down, and when to leave."""

    def __init__(
        self, history: History, name: str, transport: str, subject: dict[str, str], hang_ups: Iterable[int]
    ) -> None:
        self._history, self._name, self._transport = history, name, transport
        self._stream = "job" if "job_id" in subject else "model"
        self._hang_ups = iter(hang_ups)
        self._left: int | None = None  # events until it hangs up; None: it stays
        self.last_id: str | None = None
        self.connection = 0
        self.done = False

    def connected(self) -> None:
        self.connection += 1
        self._left = next(self._hang_ups, None)
        self._history.add(
            Connected(
                watcher=self._name, transport=self._transport, connection=self.connection, after=self.last_id
            )
        )

    def saw(self, message: dict[str, Any]) -> None:
        """Write an event down.

        Raises:
            _HungUp: this was enough for this connection.
            ConnectionError: the system has ended the subscription and said why: connect again.
        """
        if message.get("type") == "problem":
            raise ConnectionError(message.get("code"))
        if message.get("type") != "job":
            return
        self._history.add(
            EventSeen(
                watcher=self._name,
                transport=self._transport,
                stream=self._stream,
                connection=self.connection,
                event_id=message.get("id"),
                job_id=message["job_id"],
                status=message["status"],
                attempt=message["attempt"],
            )
        )
        self.last_id = message.get("id")
        self.done = self._stream == "job" and message["status"] in TERMINAL
        if self.done:
            raise _HungUp
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                raise _HungUp


async def watch_ws(
    url: str,
    history: History,
    name: str,
    subject: dict[str, str],
    hang_ups: Iterable[int] = (),
    *,
    give_up_s: float,
) -> None:
    """Watch a job to its end, or a model until `give_up_s`.

    Args:
        url: of the API.
        history: where the events go.
        name: of this watcher, the same across its connections.
        subject: `{"job_id": ...}` or `{"model_name": ...}`.
        hang_ups: after how many events it leaves and comes back; one number per connection.
        give_up_s: for how long.
    """
    watcher = _Watcher(history, name, "ws", subject, hang_ups)

    async def connection() -> AsyncIterator[dict[str, Any]]:
        target = url.replace("http", "ws", 1) + "/api/v1/ws"
        async with websockets.connect(target, open_timeout=5, close_timeout=1, proxy=None) as socket:
            watcher.connected()
            request: dict[str, Any] = {"subscribe": subject}
            if watcher.last_id is not None:
                request["subscribe"] = {**subject, "after": watcher.last_id}
            await socket.send(json.dumps(request))
            while True:
                async with asyncio.timeout(SILENCE_S):
                    message = await socket.recv()
                yield json.loads(message)

    await _watch(watcher, connection, give_up_s)


async def watch_sse(
    url: str,
    history: History,
    name: str,
    subject: dict[str, str],
    hang_ups: Iterable[int] = (),
    *,
    give_up_s: float,
) -> None:
    """As `watch_ws`, over `GET /api/v1/events`."""
    watcher = _Watcher(history, name, "sse", subject, hang_ups)

    async def connection() -> AsyncIterator[dict[str, Any]]:
        headers = {"Last-Event-ID": watcher.last_id} if watcher.last_id is not None else {}
        timeout = httpx.Timeout(5, read=SILENCE_S)
        async with (
            httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False) as http,
            http.stream("GET", EVENTS, params=subject, headers=headers) as answer,
        ):
            answer.raise_for_status()
            watcher.connected()
            event_id: str | None = None
            async for line in answer.aiter_lines():
                field, _, value = line.partition(":")
                if field == "id":
                    event_id = value.strip()
                elif field == "data":
                    message = json.loads(value)
                    if "job_id" not in message:
                        raise ConnectionError(message.get("code"))  # a problem, after which the stream ends
                    yield {**message, "id": event_id}

    await _watch(watcher, connection, give_up_s)


async def _watch(watcher: _Watcher, connection: Any, give_up_s: float) -> None:
    deadline = time.monotonic() + give_up_s
    while not watcher.done and time.monotonic() < deadline:
        stream = connection()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                async for message in stream:
                    watcher.saw(message)
            await asyncio.sleep(0.1)  # the server has ended it: an ingress that stops sends its watchers away
        except _HungUp:
            pass
        except (OSError, TimeoutError, httpx.HTTPError, websockets.WebSocketException):
            await asyncio.sleep(0.3)
        finally:
            await stream.aclose()


def every(count: int) -> Iterable[int]:
    """Hang up again and again, each time after so many events."""
    return itertools.repeat(count)
