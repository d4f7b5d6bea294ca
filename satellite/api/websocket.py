"""`WS /api/v1/ws`: watch jobs and models, and submit jobs, over one socket.

Every message is one JSON object. From the client, with an optional `ref` that the answer carries back:

- `{"authenticate": "sat_..."}`: where API keys are on, the first message, within 10 s, unless the handshake
  had the header `Authorization` or the address a `?ticket=` (`POST /api/v1/tickets`).

- `{"subscribe": {"job_id": ...}}`: every step of a job, from its first to its end.
- `{"subscribe": {"model_name": ...}}`: the model as it is now, then every step of all its jobs.
- `{"subscribe": {"all": true}}`: every step of all jobs.
- `{"subscribe": {"changes": true}}`: for live lists, at most once a second, the jobs that have changed, each
  with its newest step. 500 at most; `more` says that others have changed, too. Whoever watches this is never
  too slow for it.
- `{"subscribe": {"overview": true}}`: every 2 s how all models and the cluster do, as `GET /api/v1/overview`
  has it in `now` and `cluster`. It has no `after`.
- `{"unsubscribe": {...}}`: the same object ends it.
- `{"submit": {"model_name": ..., "data": ..., "config": ...}}`: accepts a job and subscribes to it.
- `{"ping": ...}`: answered with `{"type": "pong", "ping": ...}`.

A subscription may carry `"after": ID`, the `id` of the last event seen: it goes on after it, on whichever
ingress. Events and ids are those of `GET /api/v1/events`.

From the server, told apart by `type`: `job`, `model`, `changes`, `overview`, `accepted`, `unsubscribed`,
`authenticated`, `pong`, `ping` (sent when nothing else was for a while) and `problem` (RFC 9457).
`overview_schemas.py` has their shapes. A mistake in one message leaves the socket open.

Code 4401 says that there is no valid key, or not any more.

Code 1012 says that this ingress leaves: connect again and subscribe again. Every `submit` it has taken was
answered before; one without an answer was not taken.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast
from uuid import UUID

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from satellite.access.callers import Caller, Scope
from satellite.api.body import parse_item, parse_json
from satellite.api.context import ApiContext, context_of, possible_caller, refusal_of
from satellite.api.events import open_stream, parse_event_id
from satellite.api.guard import check_scopes
from satellite.api.inference import accepted_body
from satellite.api.models import describe
from satellite.api.overview import describe_now
from satellite.api.problems import problem, problem_response
from satellite.errors import BodyTooLarge, Busy, InvalidRequest, SatelliteError, SlowReader, Unauthenticated
from satellite.tasks import Pace, stop

router = APIRouter()

MAX_UNSENT = 1000
MAX_UNSENT_BYTES = 16 * 1024 * 1024  # of it; or one message, however large
# What is read of a peer; one that sends more is not read for a while. A large message counts as several, a
# job that was accepted as none.
MESSAGES_PER_S, MESSAGES_AT_ONCE = 300, 100
MESSAGE_BYTES = 2048
SUBSCRIBE_COST = 2  # it asks PostgreSQL
MAX_ECHO_BYTES = 64 * 1024
MAX_FIRST_BYTES = 4096  # of a message from a peer that has not said who it is
MAX_SUBSCRIPTIONS = 1000
PING_INTERVAL_S = 20.0
# With more than this unsent nothing is added that the next message says anyway.
MAX_PENDING = 10
SENT_POLL_S = 0.1
# A peer that takes nothing for this long is gone, or as good as gone.
SEND_TIMEOUT_S = 30.0
# For what is still to be said to a peer before this ingress leaves.
LEAVE_TIMEOUT_S = 10.0

# The keys of these subscriptions.
CHANGES, OVERVIEW = "changes", "overview"

PING = b'{"type":"ping"}'
NO_MORE = b""  # the last of the unsent messages, never sent itself

CLOSE_TOO_BIG = 1009
CLOSE_RESTART = 1012
CLOSE_TRY_LATER = 1013
CLOSE_UNAUTHENTICATED = 4401  # 4000 and up are the application's own
# For how long a socket may be silent about who it is.
AUTHENTICATE_S = 10.0
FIRST_MESSAGE = 'the first message must be {"authenticate": "sat_..."}'


@router.websocket("/api/v1/ws")
async def websocket(socket: WebSocket) -> None:
    """Serve one socket until either side ends it."""
    context = context_of(socket)
    limit = context.settings.max_sockets
    if context.load.sockets >= limit:
        error = Busy(f"this ingress serves {limit} sockets (SATELLITE_MAX_SOCKETS)", retry_after_s=5)
        await socket.send_denial_response(problem_response(error, socket))
        return
    context.load.sockets += 1
    try:
        await socket.accept()
        session = _Session(socket, context)
        refusal = refusal_of(socket)
        if refusal is not None:
            await session.refuse(refusal, CLOSE_UNAUTHENTICATED)
        else:
            await session.serve(possible_caller(socket))
    finally:
        context.load.sockets -= 1


class _Session:
    def __init__(self, socket: WebSocket, context: ApiContext) -> None:
        self._socket = socket
        self._caller: Caller | None = None
        self._known = asyncio.Event()  # who the caller is
        self._slots = contextlib.ExitStack()  # its place among the open sockets of its key
        self._context = context
        self._service = context.service
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue(MAX_UNSENT)
        self._unsent_bytes = 0
        self._pace = Pace(per_s=MESSAGES_PER_S, burst=MESSAGES_AT_ONCE)
        self._handling = asyncio.Lock()  # held while a message of the peer is dealt with
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._fatal: asyncio.Future[tuple[SatelliteError, int]] = asyncio.get_running_loop().create_future()

    async def refuse(self, error: SatelliteError, code: int) -> None:
        """Say why, and close."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await self._socket.send_text(orjson.dumps(self._problem(error)).decode())
                await self._socket.close(code)

    async def serve(self, caller: Caller | None) -> None:
        """Read, send and watch, until the peer goes or must be let go.

        Args:
            caller: the peer; None: it is to say so first.
        """
        if caller is not None:
            self._caller = caller
            self._known.set()
        key = asyncio.create_task(self._watch_key()) if self._context.access.keys_on else None
        reader = asyncio.create_task(self._read())
        sender = asyncio.create_task(self._send())
        leaving = asyncio.create_task(self._service.draining.wait())
        try:
            await asyncio.wait({reader, sender, leaving, self._fatal}, return_when=asyncio.FIRST_COMPLETED)
            if self._fatal.done():
                await self.refuse(*self._fatal.result())
            elif leaving.done():
                await self._leave(reader, sender)
        finally:
            self._slots.close()
            tasks: list[asyncio.Task[Any] | None] = [key, reader, sender, leaving, *self._watching.values()]
            await asyncio.gather(*map(stop, tasks), return_exceptions=True)

    async def _leave(self, reader: asyncio.Task[None], sender: asyncio.Task[None]) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                async with self._handling:  # a message in hand is dealt with, and answered
                    reader.cancel()
                await self._unsent.put(NO_MORE)
                await sender
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await self._socket.close(CLOSE_RESTART, "this ingress restarts; connect again")

    async def _read(self) -> None:
        limit = self._context.settings.max_body_bytes
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                text = message.get("text") or message.get("bytes") or b""
                if self._caller is None and len(text) > MAX_FIRST_BYTES:
                    self._end(Unauthenticated(FIRST_MESSAGE), CLOSE_UNAUTHENTICATED)
                    return
                if len(text) > limit:
                    self._end(BodyTooLarge(f"a message may be {limit} bytes long"), CLOSE_TOO_BIG)
                    return
                await self._pace.take(1 + len(text) // MESSAGE_BYTES)
                ref: Any = None
                try:
                    request = parse_json(text)
                    if not isinstance(request, dict):
                        raise InvalidRequest('a message is an object, such as {"subscribe": {"job_id": ...}}')
                    fields = cast("dict[str, Any]", request)
                    ref = _echoed("ref", fields.pop("ref", None))
                    async with self._handling:
                        await self._handle(fields, ref, len(text))
                except SatelliteError as error:
                    self._put({**self._problem(error), "ref": ref})

    async def _watch_key(self) -> None:
        """End the socket of a peer that does not say who it is, or whose key is no longer valid."""
        try:
            async with asyncio.timeout(AUTHENTICATE_S):
                await self._known.wait()
        except TimeoutError:
            error = Unauthenticated(f"no key within {AUTHENTICATE_S:g} s; {FIRST_MESSAGE}")
            self._end(error, CLOSE_UNAUTHENTICATED)
            return
        assert self._caller is not None
        await self._context.access.ended(self._caller)
        self._end(Unauthenticated("the API key is no longer valid"), CLOSE_UNAUTHENTICATED)

    async def _authenticate(self, key: str, ref: Any) -> None:
        access = self._context.access
        try:
            caller = await access.key(key)
            await access.charge(caller)
            self._slots.enter_context(access.concurrency.admit(caller))
        except Unauthenticated as error:
            self._end(error, CLOSE_UNAUTHENTICATED)
            return
        self._caller = caller
        self._known.set()
        self._say_who(caller, ref)

    def _say_who(self, caller: Caller, ref: Any) -> None:
        scopes = [scope for scope in Scope if scope in caller.scopes]
        self._put({"type": "authenticated", "tenant": caller.tenant, "scopes": scopes, "ref": ref})

    async def _handle(self, fields: dict[str, Any], ref: Any, size: int) -> None:
        caller = self._caller
        if caller is None:
            match fields:
                case {"authenticate": str(key)} if len(fields) == 1:
                    await self._authenticate(key, ref)
                case _:
                    self._end(Unauthenticated(FIRST_MESSAGE), CLOSE_UNAUTHENTICATED)
            return
        await self._context.access.charge(caller)
        match fields:
            case {"subscribe": dict() as target} if len(fields) == 1:
                check_scopes(caller, {Scope.READ})
                await self._pace.take(SUBSCRIBE_COST)
                self._subscribe(cast("dict[str, Any]", target), caller)
            case {"unsubscribe": dict() as target} if len(fields) == 1:
                target.pop("after", None)
                key = _key(cast("dict[str, Any]", target))
                task = self._watching.pop(key, None)
                if task is not None:
                    task.cancel()
                self._put({"type": "unsubscribed", **target, "ref": ref})
            case {"submit": body} if len(fields) == 1:
                check_scopes(caller, {Scope.SUBMIT})
                submitted = await self._service.submit(parse_item(body), caller)
                self._pace.spend(-1 - size // MESSAGE_BYTES)
                answer = {**accepted_body(submitted), "replayed": submitted.replayed}
                self._put({"type": "accepted", **answer, "ref": ref})
                self._subscribe({"job_id": str(submitted.job.job_id)}, caller)
            case {"authenticate": str()} if len(fields) == 1:
                if self._context.access.keys_on:
                    raise InvalidRequest("this socket has a key already; open another one for another key")
                self._say_who(caller, ref)  # keys are off: any will do
            case {"ping": value} if len(fields) == 1:
                self._put({"type": "pong", "ping": _echoed("ping", value), "ref": ref})
            case _:
                raise InvalidRequest(
                    "a message has one of: subscribe, unsubscribe, submit, authenticate, ping (and ref)"
                )

    def _subscribe(self, target: dict[str, Any], caller: Caller) -> None:
        after = target.pop("after", None)
        key = _key(target)
        if key in self._watching:
            return
        if len(self._watching) >= MAX_SUBSCRIPTIONS:
            raise InvalidRequest(f"a socket may have {MAX_SUBSCRIPTIONS} subscriptions; open another one")
        if key == OVERVIEW:
            if after is not None:
                raise InvalidRequest('the overview is of now: subscribe to it without "after"')
            self._watching[key] = asyncio.create_task(self._watch_overview(caller))
            return
        job_id = UUID(target["job_id"]) if "job_id" in target else None
        model_name: str | None = target.get("model_name")
        after = parse_event_id(after, of_job=job_id is not None)
        if key == CHANGES:
            self._watching[key] = asyncio.create_task(self._watch_changes(caller.tenant, after))
            return
        if model_name is not None:
            self._service.catalog.find(model_name)
        self._watching[key] = asyncio.create_task(
            self._forward(key, caller.tenant, job_id, model_name, after)
        )

    async def _forward(
        self,
        key: str,
        tenant: str,
        job_id: UUID | None,
        model_name: str | None,
        after: tuple[int, int] | None,
    ) -> None:
        try:
            stream = await open_stream(self._context, tenant, job_id, model_name, after)
            if model_name is not None:
                self._put(self._model(model_name))
            async with contextlib.aclosing(stream):
                async for event in stream:
                    self._put_bytes(event.body)
        except SlowReader as error:
            self._end(error, CLOSE_TRY_LATER)
        except SatelliteError as error:
            self._put({**self._problem(error), "subscription": key})
        finally:
            if self._watching.get(key) is asyncio.current_task():  # not one subscribed to it anew
                del self._watching[key]

    async def _watch_overview(self, caller: Caller) -> None:
        while True:
            self._put({"type": "overview", **await describe_now(self._context, caller)})
            await asyncio.sleep(self._context.overview.until_next_s())
            await self._sent()

    async def _watch_changes(self, tenant: str, after: tuple[int, int] | None) -> None:
        watching = self._context.watching
        try:
            digests = watching.changes(tenant, after=after or await watching.now())
            async with contextlib.aclosing(digests):
                async for digest in digests:
                    self._put_bytes(digest.body)
                    await self._sent()  # what happens meanwhile goes into the next one
        except SatelliteError as error:
            self._put({**self._problem(error), "subscription": CHANGES})
        finally:
            if self._watching.get(CHANGES) is asyncio.current_task():
                del self._watching[CHANGES]

    async def _sent(self) -> None:
        """Wait until the peer reads as fast as it is told."""
        while self._unsent.qsize() > MAX_PENDING:
            await asyncio.sleep(SENT_POLL_S)

    def _model(self, name: str) -> dict[str, Any]:
        info = describe(name, self._context)
        shown = ("name", "version", "state", "message", "replicas", "waiting")
        return {"type": "model", **{key: info[key] for key in shown}}

    async def _send(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PING_INTERVAL_S):
                    message = await self._unsent.get()
            except TimeoutError:
                message = PING
                self._unsent_bytes += len(message)
            if message == NO_MORE:
                return
            self._unsent_bytes -= len(message)
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._socket.send_text(message.decode())
            except TimeoutError:
                self._end(SlowReader(f"nothing was read for {SEND_TIMEOUT_S:g} s"), CLOSE_TRY_LATER)
                return
            except (WebSocketDisconnect, RuntimeError):
                return  # the peer has gone

    def _put(self, message: dict[str, Any]) -> None:
        if message.get("ref", ...) is None:
            del message["ref"]
        self._put_bytes(orjson.dumps(message, option=orjson.OPT_UTC_Z))

    def _put_bytes(self, message: bytes) -> None:
        self._unsent_bytes += len(message)
        if self._unsent.full() or self._unsent_bytes > max(MAX_UNSENT_BYTES, len(message)):
            error = SlowReader(
                f"{self._unsent.qsize()} messages, {self._unsent_bytes} bytes, are waiting to be read; "
                "connect again and read faster"
            )
            self._end(error, CLOSE_TRY_LATER)
        else:
            self._unsent.put_nowait(message)

    def _problem(self, error: SatelliteError) -> dict[str, Any]:
        body = problem(error, self._socket.scope.get("request_id"))
        return {**body, "problem_type": body["type"], "type": "problem"}

    def _end(self, error: SatelliteError, close_code: int) -> None:
        if not self._fatal.done():
            self._fatal.set_result((error, close_code))


def _echoed(name: str, value: Any) -> Any:
    """What the peer wants to have back.

    Raises:
        InvalidRequest: it is large, or too deep to be written.
    """
    if isinstance(value, int | None):
        return value
    try:
        size = len(orjson.dumps(value))
    except TypeError:
        size = MAX_ECHO_BYTES + 1
    if size > MAX_ECHO_BYTES:
        raise InvalidRequest(f"{name} may have {MAX_ECHO_BYTES} bytes")
    return value


def _key(target: dict[str, Any]) -> str:
    """The canonical form of what is subscribed to.

    Raises:
        InvalidRequest: there is no such thing.
    """
    match target:
        case {"job_id": str(job_id)} if len(target) == 1:
            try:
                return f"job:{UUID(job_id)}"
            except ValueError:
                raise InvalidRequest(f"job_id: {job_id[:80]!r} is not a UUID") from None
        case {"model_name": str(name)} if len(target) == 1:
            return f"model:{name}"
        case {"all": True} | {"changes": True} | {"overview": True} if len(target) == 1:
            return next(iter(target))
        case _:
            raise InvalidRequest(
                'subscribe to {"job_id": ...}, {"model_name": ...}, {"all": true}, {"changes": true} or '
                '{"overview": true}; "after" resumes all but the last'
            )
