"""Ends the work for a caller who hangs up.

Serve would watch every request for that, with two tasks each, a tenth of what a short one costs, and read all
that the caller sends meanwhile into memory. HAProxy asks it not to (`x-request-disconnect-disabled`), and
what may take long is watched here, once it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from satellite.errors import ClientClosed

# Nearly every request is answered before this, and is never watched.
WATCH_AFTER_S = 0.25

T = TypeVar("T")


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Await `work` for a request whose body has been read, and cancel it if the caller hangs up.

    Raises:
        ClientClosed: the caller has hung up.
    """
    watch: asyncio.Task[None] | None = None

    def begin() -> None:
        nonlocal watch
        watch = asyncio.create_task(_until_gone(request, patience))

    patience = asyncio.timeout(None)
    try:
        async with patience:
            timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, begin)
            try:
                return await work
            finally:
                timer.cancel()
                if watch is not None:
                    watch.cancel()
    except TimeoutError:
        if not patience.expired():
            raise
        raise ClientClosed("the caller has hung up") from None


async def _until_gone(request: Request, patience: asyncio.Timeout) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    patience.reschedule(asyncio.get_running_loop().time())
