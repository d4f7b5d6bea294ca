"""Submits over WebSockets, which tell the results by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from satellite.client.transport import bearer
from satellite.client.wire import Json, to_error
from satellite.errors import SatelliteError, Unauthenticated, Unavailable
from satellite.simulator.readings import Reading
from satellite.simulator.sinks import Asked, Ending
from satellite.status import JobStatus

# A socket may watch 1,000 jobs.
MAX_OPEN = 900
RECONNECT_S = 0.2
# The key is missing, or no longer one.
CLOSE_UNAUTHENTICATED = 4401


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """A request that has not ended."""

    body: Json
    accepted: Callable[[], None]
    ending: asyncio.Future[Ending]
    job_id: str | None = None

    def message(self, ref: str) -> str:
        """What makes the job known to a socket: sent again, it is the same job."""
        if self.job_id is None:
            return json.dumps({"submit": self.body, "ref": ref})
        return json.dumps({"subscribe": {"job_id": self.job_id}, "ref": ref})


class SocketSink:
    """Sockets that take turns: over one, the system takes one submit after the other.

    Args:
        url: base address of the API.
        asked: what is asked of every reading.
        retried: where breaks are counted, as `socket_closed`.
        api_key: to connect with, if any.
        sockets: how many.
    """

    def __init__(
        self,
        url: str,
        asked: Asked,
        retried: Counter[str],
        *,
        api_key: str | None = None,
        sockets: int = 1,
    ) -> None:
        self._sockets = [_Socket(url, asked, retried, api_key) for _ in range(sockets)]

    async def send(self, number: int, reading: Reading, accepted: Callable[[], None]) -> Ending:
        """Submits a job, and waits for its last event. Waits first while its socket has 900 open."""
        return await self._sockets[number % len(self._sockets)].send(number, reading, accepted)

    async def __aenter__(self) -> Self:
        for socket in self._sockets:
            socket.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for socket in self._sockets:
            await socket.close()


class _Socket:
    """One socket. If it breaks, it is opened again, and told of all that is open."""

    def __init__(self, url: str, asked: Asked, retried: Counter[str], api_key: str | None) -> None:
        self._url = f"ws{url.removeprefix('http').rstrip('/')}/api/v1/ws"
        self._headers = {} if api_key is None else {"Authorization": bearer(api_key)}
        self._asked = asked
        self._retried = retried
        self._waiting: dict[str, _Waiting] = {}
        self._jobs: dict[str, str] = {}
        self._room = asyncio.Semaphore(MAX_OPEN)
        self._socket: Any = None
        self._refused: SatelliteError | None = None  # why the key is not taken

    async def send(self, number: int, reading: Reading, accepted: Callable[[], None]) -> Ending:
        ref = str(number)
        async with self._room:
            ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
            body = self._asked.body(reading) | {"idempotency_key": str(uuid4())}
            waiting = self._waiting[ref] = _Waiting(body=body, accepted=accepted, ending=ending)
            try:
                if self._socket is not None:
                    await self._put(self._socket, waiting.message(ref))
                await asyncio.wait({ending, self._reader}, return_when=asyncio.FIRST_COMPLETED)
                if not ending.done():
                    error = self._reader.exception()
                    if isinstance(error, SatelliteError):
                        raise error
                    raise Unavailable(f"{self._url} cannot be opened: {error}")
                return ending.result()
            finally:
                del self._waiting[ref]
                self._jobs.pop(waiting.job_id or "", None)

    def open(self) -> None:
        self._reader = asyncio.create_task(self._read())

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        from websockets.asyncio.client import connect
        from websockets.exceptions import ConnectionClosed

        async for socket in connect(self._url, additional_headers=self._headers, proxy=None, max_size=None):
            self._socket = socket
            try:
                for ref, waiting in list(self._waiting.items()):
                    await socket.send(waiting.message(ref))
                async for text in socket:
                    self._take(json.loads(text))
            except ConnectionClosed as closed:
                if closed.rcvd is not None and closed.rcvd.code == CLOSE_UNAUTHENTICATED:
                    raise self._refused or Unauthenticated() from None
            finally:
                self._socket = None
            self._retried["socket_closed"] += 1
            await asyncio.sleep(RECONNECT_S)

    async def _put(self, socket: Any, message: str) -> None:
        from websockets.exceptions import ConnectionClosed

        # Lost with its socket, it is sent over the next one.
        with contextlib.suppress(ConnectionClosed):
            await socket.send(message)

    def _take(self, message: Json) -> None:
        match message:
            case {"type": "accepted", "ref": str(ref), "job_id": str(job_id)}:
                waiting = self._waiting.get(ref)
                if waiting is not None and waiting.job_id is None:
                    waiting.job_id = job_id
                    self._jobs[job_id] = ref
                    waiting.accepted()
            case {"type": "job", "job_id": str(job_id), "status": str(status)}:
                if JobStatus(status).is_terminal:
                    self._end(self._jobs.get(job_id), message)
            case {"type": "problem", "code": "unauthenticated"}:
                self._refused = to_error(message)
            case {"type": "problem", "ref": str(ref)}:
                self._fail(ref, to_error(message))
            case {"type": "problem", "subscription": str(key)}:
                self._fail(self._jobs.get(key.removeprefix("job:")), to_error(message))
            case _:
                pass

    def _end(self, ref: str | None, message: Json) -> None:
        waiting = self._waiting.get(ref or "")
        if waiting is not None and not waiting.ending.done():
            output = (message.get("job") or {}).get("result")
            waiting.ending.set_result(Ending(status=message["status"], output=output))

    def _fail(self, ref: str | None, error: SatelliteError) -> None:
        waiting = self._waiting.get(ref or "")
        if waiting is not None and not waiting.ending.done():
            waiting.ending.set_exception(error)
