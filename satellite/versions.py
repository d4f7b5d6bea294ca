"""The versions of a model that one replica has loaded: the least recently used one makes room for the next.

A version is loaded when it is first used, once, however many ask for it at that time. It is put away only
when nothing uses it. If all that are loaded are in use, the least recently used one takes no new users, who
wait for it to be loaded again; so whoever waits gets room in the order in which they came.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from satellite.errors import VersionFailed


class Sized(Protocol):
    """What a version is made of."""

    @property
    def size_bytes(self) -> int:
        """How much room it takes, as far as that is known before it is loaded."""
        ...


logger = logging.getLogger(__name__)

A = TypeVar("A", bound=Sized)
M = TypeVar("M")

# After a load has failed for a reason of the version's own, the same answer is given for so long.
FAILURE_KEPT_S = 5.0


@dataclass(slots=True, kw_only=True)
class Counts:
    """What has happened: since the last look, or from the beginning."""

    hits: int = 0  # uses of a version that was loaded already
    misses: int = 0  # uses that had to wait for a load
    evictions: int = 0


class _Entry(Generic[M]):
    """A version that is loaded, or being loaded."""

    def __init__(self) -> None:
        self.loading: asyncio.Task[M] | None = None
        self.model: M | None = None
        self.resident = False  # takes room: until it has been closed
        self.size_bytes = 0
        self.uses = 0
        self.leaving = 0  # how many want it gone: it takes no new users
        self.decided = asyncio.Event()  # whether it goes or stays


class LoadedVersions(Generic[A, M]):
    """The loaded versions of one model.

    Args:
        fetch: brings what a version is made of to this machine.
        load: makes a model of it, one at a time.
        close: puts a model away.
        max_versions: at most so many are loaded.
        max_bytes: at most so much together; None: as much as they need.
        clock: monotonic seconds.

    Attributes:
        counts: taken over and set anew by whoever exports them.
        totals: the same from the beginning; nobody sets them anew.
        load_seconds: how long each load took, since they were taken over.
    """

    def __init__(
        self,
        fetch: Callable[[str], Awaitable[A]],
        load: Callable[[A], Awaitable[M]],
        close: Callable[[M], Awaitable[None]],
        *,
        max_versions: int,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._load = load
        self._close = close
        self._max_versions = max_versions
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, _Entry[M]] = OrderedDict()  # the least recently used first
        self._room = asyncio.Lock()  # whoever makes room and loads: one at a time, in order
        self._idle = asyncio.Event()  # a version is no longer used
        self._failed: dict[str, tuple[VersionFailed, float]] = {}
        self.counts = Counts()
        self.totals = Counts()
        self.load_seconds: list[float] = []

    @property
    def loaded(self) -> list[str]:
        """The versions that are loaded, the least recently used first."""
        return [version for version, entry in self._entries.items() if entry.model is not None]

    def set_limits(self, *, max_versions: int, max_bytes: int | None) -> None:
        """Change how much may be loaded. What is too much now is put away as the next version is loaded."""
        self._max_versions, self._max_bytes = max_versions, max_bytes

    @contextlib.asynccontextmanager
    async def use(self, version: str) -> AsyncGenerator[M]:
        """Use a version, loading it if need be. It stays loaded until the block ends.

        Raises:
            VersionFailed: it cannot be loaded.
            VersionUnavailable: it cannot be fetched now.
        """
        entry = await self._enter(version)
        try:
            model = entry.model
            if model is None:
                self.counts.misses += 1
                self.totals.misses += 1
                assert entry.loading is not None
                # A user that gives up must not stop the load that others wait for.
                model = await asyncio.shield(entry.loading)
            else:
                self.counts.hits += 1
                self.totals.hits += 1
            yield model
        finally:
            entry.uses -= 1
            if not entry.uses:
                self._idle.set()

    async def unload(self, version: str) -> bool:
        """Put a version away as soon as nothing uses it. Returns False if it was not loaded."""
        entry = self._entries.get(version)
        if entry is None or entry.model is None:
            return False
        entry.leaving += 1
        while entry.uses:
            await self._someone_idle()
        await self._evict(version, entry)
        return True

    async def _enter(self, version: str) -> _Entry[M]:
        while (entry := self._entries.get(version)) is not None and entry.leaving:
            await entry.decided.wait()
        if entry is None:
            failure, until = self._failed.get(version, (None, 0.0))
            if failure is not None and self._clock() < until:
                raise failure
            entry = self._entries[version] = _Entry()
            entry.loading = asyncio.create_task(self._bring(version, entry))
            # Without users left, nobody would look at its error.
            entry.loading.add_done_callback(lambda task: task.cancelled() or task.exception())
        entry.uses += 1
        self._entries.move_to_end(version)
        return entry

    async def _bring(self, version: str, entry: _Entry[M]) -> M:
        try:
            artifact = await self._fetch(version)
            async with self._room:
                await self._make_room(artifact.size_bytes, version)
                began = self._clock()
                model = await self._load(artifact)
                entry.model, entry.resident, entry.size_bytes = model, True, artifact.size_bytes
                self.load_seconds.append(self._clock() - began)
                self._failed.pop(version, None)
                return model
        except BaseException as error:
            if isinstance(error, VersionFailed):
                now = self._clock()
                self._failed = {name: kept for name, kept in self._failed.items() if kept[1] > now}
                self._failed[version] = error, now + FAILURE_KEPT_S
            del self._entries[version]
            entry.decided.set()
            raise

    async def _make_room(self, size_bytes: int, version: str) -> None:
        if self._max_bytes is not None and size_bytes > self._max_bytes:
            raise VersionFailed(
                f"version {version} has {size_bytes} bytes, and max_loaded_bytes is {self._max_bytes}"
            )
        called: _Entry[M] | None = None
        while not self._fits(size_bytes):
            open_ = {name: entry for name, entry in self._entries.items() if entry.model is not None}
            idle = [name for name, entry in open_.items() if not entry.uses]
            if idle:
                await self._evict(idle[0], open_[idle[0]])
                continue
            if open_ and (called is None or called.model is None):
                called = next(iter(open_.values()))
                called.leaving += 1
            await self._someone_idle()
        if called is not None and called.model is not None:
            # Another one was idle first.
            called.leaving -= 1
            called.decided.set()
            called.decided = asyncio.Event()

    def _fits(self, size_bytes: int) -> bool:
        resident = [entry for entry in self._entries.values() if entry.resident]
        taken = sum(entry.size_bytes for entry in resident)
        return len(resident) < self._max_versions and (
            self._max_bytes is None or taken + size_bytes <= self._max_bytes
        )

    async def _someone_idle(self) -> None:
        self._idle.clear()
        await self._idle.wait()

    async def _evict(self, version: str, entry: _Entry[M]) -> None:
        model, entry.model = entry.model, None
        if model is None:  # somebody else is at it
            await entry.decided.wait()
            return
        entry.leaving += 1  # while it is being closed
        self.counts.evictions += 1
        self.totals.evictions += 1
        try:
            await self._close(model)
        except Exception:
            logger.exception("A version could not be closed.", extra={"action": "version_close_failed"})
        finally:
            del self._entries[version]
            entry.decided.set()
            self._idle.set()  # there is room
