"""Calls of the HTTP API over a Serve handle: the application answers them as if they had come by HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import unquote, urlencode

from starlette.types import ASGIApp, Message

from satellite.access.callers import operator
from satellite.api.context import CALLER
from satellite.jobs import DEFAULT_TENANT


async def call(
    app: ASGIApp,
    method: str,
    path: str,
    query: list[tuple[str, str]],
    headers: dict[str, str],
    body: bytes,
    tenant: str = DEFAULT_TENANT,
) -> AsyncGenerator[Any]:
    """One call.

    Args:
        app: the application.
        method: GET, POST and so on.
        path: its parts are percent-encoded, as in an address.
        query: pairs.
        headers: of the request.
        body: of the request.
        tenant: for whom it is. Who holds a handle is in the cluster, and may do everything.

    Yields:
        The status and the headers, names in lower case; then the pieces of the body, as they come.
    """
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": urlencode(query).encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": None,
        "server": None,
        CALLER: operator(tenant),
    }
    sent: asyncio.Queue[Message | None] = asyncio.Queue()
    asked = asyncio.Event()

    async def receive() -> Message:
        if asked.is_set():
            # The next message would be that the caller hung up; if the caller does, the task is cancelled.
            await asyncio.Event().wait()
        asked.set()
        return {"type": "http.request", "body": body, "more_body": False}

    async def run() -> None:
        try:
            await app(scope, receive, sent.put)
        finally:
            sent.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        while (message := await sent.get()) is not None:
            if message["type"] == "http.response.start":
                names = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
                yield message["status"], names
            elif message.get("body"):
                yield message["body"]
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def answer(app: ASGIApp, *request: Any) -> tuple[int, dict[str, str], bytes]:
    """One call and its whole answer: status, headers, body. `request`: see `call`."""
    pieces = call(app, *request)
    status, headers = await anext(pieces)
    return status, headers, b"".join([piece async for piece in pieces])
