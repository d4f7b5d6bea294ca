"""Log readers: hand every event to something outside, at least once, in order, whoever dies meanwhile.

The event log is already what an outbox would be: every step of every job is in it, written by the statement
that made the step. A *log reader* is a named position in it that outlives processes. Of all processes that
run a reader one is its owner, by a lease in the database. The owner reads the page after the position, hands
it to the *sink*, and stores the new position only when the sink has confirmed the page. If it dies in
between, the next owner hands the page over once more.

A process that is frozen and comes back after its lease has passed can no longer store a position. What its
sink was doing meanwhile is for the sink to fence: one that writes to this database moves the position in its
own transaction (`Page.claim`), others must take a page twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from satellite.errors import StoreUnavailable
from satellite.jobs import JobStatus
from satellite.store import Store, TenantEvent
from satellite.tasks import stop

logger = logging.getLogger(__name__)

Position = tuple[int, int]

# Events that are handed over at a time.
PAGE = 500
LEASE_S = 10.0
RENEW_S = 2.0
# A page is handed over only if the lease lasts for so long yet.
MARGIN_S = 1.0
# How often who does not own the reader tries to.
TAKE_S = 1.0
# How often the log is looked at if nobody says that it has grown; see `EventLog`, which does the same.
POLL_S = 1.0
RETRY_S = (0.01, 0.02, 0.05, 0.1, 0.2)
# Few large pages cost less than many small ones, and nobody waits for a page as for an answer.
GATHER_S = 0.03
# After the sink has failed; doubled each time.
BACKOFF_S = 0.5
MAX_BACKOFF_S = 5.0


class ReaderLost(Exception):
    """The reader is another's now: what was handed over last counts only if its position was stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events that follow each other in the log, and whose they are.

    Attributes:
        events: at least one.
        claim: the arguments of `queries.ADVANCE_READER` that move the reader behind this page. A sink that
            writes to the same database runs it in its own transaction, and raises `ReaderLost` if it returns
            no row: then every page has its effect once.
    """

    events: Sequence[TenantEvent]
    claim: tuple[str, UUID, int, int]


class LogReader:
    """Runs one reader, whenever this process is the one that owns it.

    Args:
        store: where the log is.
        name: of the reader. A new one begins at the end of the log.
        sink: takes a page; when it returns, the page never comes again. Whatever it raises is logged, and
            the same events come again, here or elsewhere. It is cancelled when the reader is lost.
        statuses: only steps to these states; left out: all.

    Attributes:
        failure: why the sink has not taken the last page; None when all is well.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        sink: Callable[[Page], Awaitable[None]],
        *,
        statuses: Sequence[JobStatus] | None = None,
    ) -> None:
        self.name = name
        self.failure: str | None = None
        self._store = store
        self._sink = sink
        self._statuses = statuses
        self._owner = uuid4()
        self._position: Position | None = None  # None: another owns it
        self._renewed_at = 0.0  # monotonic seconds, before the renewal was sent
        self._grown = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_owner(self) -> bool:
        """Whether this process is the one that reads."""
        return self._position is not None

    def grew(self, _value: str = "") -> None:
        """Somebody has written to the log; for `EventHub.on_wake`."""
        self._grown.set()

    def start(self) -> None:
        """Begin to read, as soon as nobody else does."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Stop reading; another process can go on at once."""
        await stop(self._task)

    async def _keep(self) -> None:
        backoff_s = BACKOFF_S
        while True:
            pause_s = TAKE_S
            try:
                if await self._take():
                    await self._hold()
                else:
                    self.failure = None  # what goes wrong is its owner's to say
            except StoreUnavailable as error:
                self.failure = str(error)
            except ReaderLost:
                logger.warning(
                    "A log reader was lost to another process.",
                    extra={"action": "reader_lost", "reader": self.name},
                )
            except Exception as error:
                backoff_s = BACKOFF_S if self.failure is None else min(backoff_s * 2, MAX_BACKOFF_S)
                pause_s = backoff_s
                self.failure = f"{type(error).__name__}: {error}"[:500]
                logger.warning(
                    "What a log reader read could not be handed over; it comes again.",
                    exc_info=error,
                    extra={"action": "reader_failed", "reader": self.name},
                )
            finally:
                await self._release()
            await asyncio.sleep(pause_s)

    async def _release(self) -> None:
        if self._position is not None:
            self._position = None
            with contextlib.suppress(StoreUnavailable):
                await self._store.release_reader(self.name, self._owner)

    async def _take(self) -> bool:
        began = time.monotonic()
        position = await self._store.take_reader(self.name, self._owner, lease_s=LEASE_S)
        if position is None:
            return False
        if position[0] < await self._store.log_horizon():
            logger.error(
                "Events were dropped before this log reader has read them; it goes on with the oldest.",
                extra={"action": "reader_gap", "reader": self.name},
            )
        self._position, self._renewed_at = position, began
        return True

    async def _hold(self) -> None:
        """Read until the reader is lost or something fails."""
        tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._renew())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await done.pop()
        finally:
            await asyncio.gather(*map(stop, tasks), return_exceptions=True)

    async def _follow(self) -> None:
        delays = iter(RETRY_S)
        while True:
            self._grown.clear()
            # Before the page is read: up to here it holds all there is, should it not be full.
            end = await self._store.log_position()
            position = self._owned()
            events = await self._store.read_log_page(position, statuses=self._statuses, limit=PAGE)
            if events:
                await self._hand_over(events)
            self.failure = None
            if len(events) == PAGE:
                continue
            # Stored with the next renewal: steps that this reader is not for need no write of their own.
            self._position = max(self._owned(), end)
            try:
                async with asyncio.timeout(next(delays, POLL_S)):
                    await self._grown.wait()
                delays = iter(RETRY_S)
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass

    async def _hand_over(self, events: Sequence[TenantEvent]) -> None:
        if time.monotonic() - self._renewed_at > LEASE_S - MARGIN_S:
            raise ReaderLost  # perhaps; who owns it is found out by taking it again
        until = events[-1].position
        await self._sink(Page(events=events, claim=(self.name, self._owner, *until)))
        await self._advance(until)
        self._position = until

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            await self._advance(self._owned())

    async def _advance(self, position: Position) -> None:
        began = time.monotonic()
        if not await self._store.advance_reader(self.name, self._owner, position):
            raise ReaderLost
        self._renewed_at = began

    def _owned(self) -> Position:
        if self._position is None:
            raise ReaderLost
        return self._position
