"""Group commit: what waits is written together, in one statement and one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

from satellite.discreet import discreet

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")


class GroupCommit(Generic[T, R]):
    """Gathers single writes into groups without ever waiting for more to come.

    While one group is being written the next one gathers, so groups grow with the load and a lone write
    leaves at once.

    Args:
        write: writes a group and returns one result per item, in order.
        shared: the errors of `write` that concern a group as a whole: every caller in it gets them. After any
            other one its items are written one by one, so that what is wrong with one fails no other.
        max_items: the largest group.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        shared: type[Exception] = Exception,
        max_items: int = 500,
    ) -> None:
        self._write = write
        self._shared = shared
        self._max_items = max_items
        self._waiting: deque[tuple[T, asyncio.Future[Any], Callable[[R], Any]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Write `item` with whatever else waits, and return its result.

        A caller that is cancelled no longer hears of the outcome; its item is written all the same, and the
        rest of the group is not touched by it.
        """
        return await self.add(item, as_it_is)

    def add(self, item: T, then: Callable[[R], A]) -> asyncio.Future[A]:
        """As `submit`, without waiting.

        Args:
            item: what to write.
            then: called with its result once it is written, whether or not anybody waits for that: what must
                follow the write needs no task of its own that outlives the caller.

        Returns:
            What `then` will have made of the result.
        """
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future, then))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return future

    async def _drain(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), self._max_items)
                group = [self._waiting.popleft() for _ in range(count)]
                await self._write_group(group)
        finally:
            self._task = None

    async def _write_group(self, group: list[tuple[T, asyncio.Future[Any], Callable[[R], Any]]]) -> None:
        try:
            results = await self._write([item for item, _, _ in group])
        except asyncio.CancelledError:
            for _, future, _ in group:
                future.cancel()
            raise
        except Exception as error:
            if len(group) > 1 and not isinstance(error, self._shared):
                for member in group:
                    await self._write_group([member])
                return
            for _, future, _ in group:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future, then), result in zip(group, results, strict=True):
            try:
                answer = then(result)
            except Exception as error:
                if future.done():
                    logger.error(
                        "What follows a write failed.",
                        exc_info=discreet(error),
                        extra={"action": "background_failed"},
                    )
                else:
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(answer)

    async def close(self) -> None:
        """Wait until all that was submitted is written."""
        while self._task is not None:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._task)


def as_it_is(result: R) -> R:
    """What follows a write after which there is nothing to do."""
    return result
