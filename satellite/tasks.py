"""Work that goes on after the call that began it, and must be waited for at the end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from satellite.discreet import discreet
from satellite.errors import SatelliteError

logger = logging.getLogger(__name__)

T = TypeVar("T")


TURN_S = 0.005
# A cancellation that was lost is asked for again after this.
RETRY_S = 0.5


async def stop(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task and wait for its end.

    Once is not enough: a cancellation that meets a time-out inside a library (redis-py's, for one) comes out
    as that library's error, and a loop that survives such errors goes on.
    """
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=RETRY_S)
    if task is not None and not task.cancelled() and (error := task.exception()) is not None:
        raise error


class Turns:
    """Lets others have the loop now and then, during work that may take long."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    async def pause(self) -> None:
        """Let them, if it was long enough."""
        if time.monotonic() - self._began_s > TURN_S:
            await asyncio.sleep(0)
            self._began_s = time.monotonic()


class Pace:
    """A rate that is kept by waiting: what comes faster waits.

    Args:
        per_s: how much a second.
        burst: how much at once, after a pause.
    """

    def __init__(self, *, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._left = burst
        self._at_s = time.monotonic()

    async def take(self, cost: float) -> None:
        """Go on once there is enough; one that costs more than the burst waits for that long."""
        now_s = time.monotonic()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s) - cost
        self._at_s = now_s
        if self._left < 0:
            await asyncio.sleep(-self._left / self._per_s)


class Background:
    """Tasks that nobody else holds on to."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin some work."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Errors made on purpose are for whoever awaits the task, who may have gone.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, SatelliteError):
            logger.error(
                "Work in the background failed.",
                exc_info=discreet(error),
                extra={"action": "background_failed"},
            )

    async def finish(self) -> None:
        """Wait until all of it is done, and what it began, too."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
