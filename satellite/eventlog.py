"""The event log: every step of every job, in one order that all ingresses agree on.

Each step is a row of `events`, written by the statement that makes the step. Rows are ordered by
(transaction, sequence) and read only up to the oldest transaction that is still running: what is read is
complete, so a position in the log is all a client needs to go on anywhere, on any ingress, without a gap and
without anything twice. While somebody watches, one task per ingress follows the log and hands its events to
all who do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from satellite.errors import CursorExpired, SlowReader, StoreUnavailable
from satellite.metrics import Metrics
from satellite.store import LogEvent, Store, TenantEvent
from satellite.tasks import stop

Position = tuple[int, int]

# Rows that are read at a time.
PAGE = 500
# How often the log is looked at if nobody says that it has grown.
POLL_S = 1.0
# It has grown, yet an older transaction may still be running and hide the newest rows: look again after
# these.
RETRY_S = (0.01, 0.02, 0.05, 0.1, 0.2)
# Under load many write at the same time: one look shows what they all wrote.
GATHER_S = 0.003
MAX_UNREAD = 10_000
# How many events a digest goes back for: what was before is not shown anyway.
DIGEST_BACK = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The jobs that have changed since the last one, each with its newest step.

    Attributes:
        position: up to where the log is in it.
        events: the newest step of each job, in order.
        more: other jobs have changed, too.
    """

    position: Position
    events: list[LogEvent]
    more: bool


class EventLog:
    """Follows the log for the watchers of this process.

    Args:
        store: where the log is.
        metrics: where its lag is counted.
    """

    def __init__(self, store: Store, *, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._readers: set[_Reader | _Digester] = set()
        self._position: Position = (0, 0)
        self._grown = asyncio.Event()
        self._joining = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def grew(self, _value: str = "") -> None:
        """Somebody has written to the log."""
        self._grown.set()

    async def close(self) -> None:
        """Stop following."""
        await stop(self._task)

    async def check(self, after: Position) -> None:
        """Whether reading can go on after this position.

        Raises:
            CursorExpired: events after it are no longer kept.
        """
        if after[0] < await self._store.log_horizon():
            raise CursorExpired(
                f"the events after {after[0]}-{after[1]} are no longer kept; start without an id, and list "
                "the jobs for what was missed"
            )

    async def read(self, tenant: str, *, model_name: str | None, after: Position) -> AsyncGenerator[LogEvent]:
        """All events of a tenant after a position, and then every new one as it comes.

        Raises:
            CursorExpired: events after this position are no longer kept.
            SlowReader: whoever iterates cannot keep up.
            StoreUnavailable: PostgreSQL does not answer.
        """
        await self.check(after)
        reader = _Reader(tenant, model_name)
        await self._join(reader)
        try:
            joined_at = self._position  # what comes through the reader is after this
            position = after
            while position < joined_at:
                page = await self._store.read_log(tenant, position, model_name=model_name, limit=PAGE)
                for event in page:
                    if event.position > joined_at:
                        break
                    yield event
                position = page[-1].position if len(page) == PAGE else joined_at
            while True:
                event = await reader.get()
                # This ingress may lag behind the one where the client has seen events up to `after`.
                if event.position > after:
                    yield event
        finally:
            self._readers.discard(reader)

    async def digests(
        self, tenant: str, *, after: Position, most: int, pause_s: float
    ) -> AsyncGenerator[Digest]:
        """What has changed of a tenant's jobs after a position, and then what changes, in digests.

        However much happens, nobody is too slow for it: what cannot be shown is left out, oldest first.

        Args:
            tenant: the tenant.
            after: the position.
            most: the jobs in one digest, at most.
            pause_s: between two of them, at least.

        Raises:
            CursorExpired: events after this position are no longer kept.
            StoreUnavailable: PostgreSQL does not answer.
        """
        await self.check(after)
        digester = _Digester(tenant, after, most)
        await self._join(digester)
        try:
            missed = await self._store.read_log_backwards(tenant, after, self._position, limit=DIGEST_BACK)
            digester.begin(missed, more=len(missed) == DIGEST_BACK)
            while True:
                yield await digester.get()
                await asyncio.sleep(pause_s)
        finally:
            self._readers.discard(digester)

    async def _join(self, reader: _Reader | _Digester) -> None:
        async with self._joining:
            if self._task is None or self._task.done():
                self._position = await self._store.log_position()
                self._readers.add(reader)
                self._task = asyncio.create_task(self._follow())
            else:
                self._readers.add(reader)

    async def _follow(self) -> None:
        delays = iter(RETRY_S)
        while self._readers:
            self._grown.clear()
            page: list[TenantEvent] = []
            with contextlib.suppress(StoreUnavailable):
                page = await self._store.read_log_page(self._position, statuses=None, limit=PAGE)
            for event in page:
                self._position = event.position
                for reader in self._readers:
                    if reader.tenant == event.tenant:
                        reader.deliver(event)
            if page:
                # Its oldest event has waited longest.
                lag_s = (datetime.now(UTC) - page[0].at).total_seconds()
                self._metrics.event_lag_seconds.observe(max(0.0, lag_s))
            if len(page) == PAGE:
                continue
            try:
                async with asyncio.timeout(next(delays, POLL_S)):
                    await self._grown.wait()
                delays = iter(RETRY_S)
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass


class _Reader:
    """A bounded queue of events of one watcher."""

    def __init__(self, tenant: str, model_name: str | None) -> None:
        self.tenant = tenant
        self._model_name = model_name
        self._queue: asyncio.Queue[LogEvent] = asyncio.Queue(MAX_UNREAD)
        self._overflowed = False

    def deliver(self, event: LogEvent) -> None:
        """Add an event, if it is one of those asked for."""
        if self._model_name is not None and event.model_name != self._model_name:
            return
        if self._overflowed:
            return  # what follows would come after a gap
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._overflowed = True

    async def get(self) -> LogEvent:
        """The next event.

        Raises:
            SlowReader: events were lost because this reader is too slow.
        """
        if self._overflowed and self._queue.empty():
            raise SlowReader(
                f"more than {MAX_UNREAD} events are waiting to be read; connect again with the last id, and "
                "read faster"
            )
        return await self._queue.get()


class _Digester:
    """The newest step of each job that has changed, for one watcher."""

    def __init__(self, tenant: str, after: Position, most: int) -> None:
        self.tenant = tenant
        self._after = self._position = after
        self._most = most
        self._newest: OrderedDict[UUID, LogEvent] = OrderedDict()
        self._more = False
        self._changed = asyncio.Event()

    def begin(self, missed: list[LogEvent], *, more: bool) -> None:
        """Add what was before everything that was delivered.

        Args:
            missed: the newest events, newest first.
            more: there are others before them.
        """
        came, self._newest = self._newest, OrderedDict()
        for event in [*reversed(missed), *came.values()]:
            self.deliver(event)
        self._more = self._more or more

    def deliver(self, event: LogEvent) -> None:
        """Add an event."""
        if event.position <= self._after:
            return  # this ingress lags behind the one where the client has seen it
        self._position = max(self._position, event.position)
        self._newest.pop(event.job_id, None)
        self._newest[event.job_id] = event
        if len(self._newest) > self._most:
            self._newest.popitem(last=False)
            self._more = True
        self._changed.set()

    async def get(self) -> Digest:
        """What has changed, as soon as something has."""
        await self._changed.wait()
        self._changed.clear()
        newest, self._newest = self._newest, OrderedDict()
        more, self._more = self._more, False
        return Digest(position=self._position, events=list(newest.values()), more=more)
