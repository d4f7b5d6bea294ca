"""Tells a replica that it is about to leave, while Serve still waits for its open requests.

Serve runs `__del__` only after the last open request has been answered, and has no hook for the time before.
But what waits for something to happen (a WebSocket, a stream, a long poll) would keep the replica until it is
killed, and then break off. So a flag is watched that Serve sets on its own object around the replica: the one
private name of Serve used here. Where there is none the log says so, and leaving takes longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import ray

logger = logging.getLogger("satellite.draining")

POLL_S = 0.1
# Until HAProxy has learned where the others are: who is let go earlier may come back to this very replica.
SETTLE_S = 1.0


class DrainWatch:
    """Watches for the order to leave. Made inside a replica, in its event loop.

    Args:
        on_drain: called once, shortly after Serve has stopped sending new requests here.
    """

    def __init__(self, on_drain: Callable[[], None]) -> None:
        self._on_drain = on_drain
        self._task = asyncio.create_task(self._watch())

    def close(self) -> None:
        """Stop watching."""
        self._task.cancel()

    async def _watch(self) -> None:
        replica = _own_replica()
        if replica is None:
            logger.warning(
                "This version of Ray Serve does not show when a replica is to leave.",
                extra={"action": "draining_unseen"},
            )
            return
        while not replica._shutting_down:
            await asyncio.sleep(POLL_S)
        await asyncio.sleep(SETTLE_S)
        logger.info("This replica leaves; its watchers are let go.", extra={"action": "draining"})
        self._on_drain()


def _own_replica() -> Any:
    """Serve's object around this replica: of the actors in this process, the one that has the flag."""
    worker: Any = ray._private.worker.global_worker
    for actor in getattr(worker, "actors", {}).values():
        replica = getattr(actor, "_replica_impl", None)
        if hasattr(replica, "_shutting_down"):
            return replica
    return None
