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
    """A rate, and how far behind it is what was spent.

    Args:
        per_s: how much a second.
        burst: how much at once, after a pause.
    """

    def __init__(self, *, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._left = burst
        self._at_s = time.monotonic()

    def spend(self, cost: float) -> None:
        """Count something that was done; what costs less than nothing is given back."""
        self._left = min(self._burst, self._now() - cost)

    def behind_s(self) -> float:
        """In how many seconds more may be spent."""
        return max(0.0, -self._now() / self._per_s)

    async def take(self, cost: float) -> None:
        """Count something, and go on once the rate has caught up."""
        self.spend(cost)
        if (behind_s := self.behind_s()) > 0:
            await asyncio.sleep(behind_s)

    def _now(self) -> float:
        now_s = time.monotonic()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return self._left


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
