"""Which versions each model has, and which of them answers where none is named: the same on every ingress.

Versions are found where they lie (`artifacts.py`), and looked for again now and then, and when somebody asks
for one that is not known. The default is kept in PostgreSQL, with its history; a change is told to the other
ingresses at once, and found out by them after a heartbeat if they do not hear of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from satellite.artifacts import ArtifactSource, Manifest, first_version
from satellite.catalog import Catalog
from satellite.errors import (
    StoreUnavailable,
    Unavailable,
    VersionFailed,
    VersionNotFound,
    VersionRefused,
    VersionUnavailable,
)
from satellite.events import EventHub, Wake
from satellite.store import DefaultChange, Store
from satellite.tasks import Background, stop

logger = logging.getLogger(__name__)

LOOK_S = 30.0
# Who asks for versions that do not exist makes the source be asked no more often than this.
LOOK_AGAIN_S = 1.0
LOOK_TIMEOUT_S = 10.0
LOAD_TIMEOUT_S = 120.0
HISTORY = 20

Found = Mapping[str, Manifest | VersionFailed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What one replica has loaded, and how often versions were loaded and put away since it started."""

    versions: Sequence[str]
    hits: int = 0
    misses: int = 0
    evictions: int = 0


class Replicas(Protocol):
    """The replicas of the models, all those of a model at once."""

    async def load(self, model_name: str, version: str) -> int:
        """Load a version on each. Returns on how many.

        Raises:
            VersionFailed, VersionUnavailable: one of them cannot.
            Unavailable: none is running.
        """
        ...

    async def unload(self, model_name: str, version: str) -> int:
        """Put a version away on each, once nothing uses it. Returns on how many it was loaded."""
        ...

    async def loaded(self, model_name: str) -> Mapping[str, Loaded]:
        """For each replica, by its id, what it has loaded. Without those that do not answer."""
        ...

    def follow_default(self, model_name: str, version: str) -> None:
        """Let each answer with this version if it is called without one; it is told again now and then."""
        ...


class NoReplicas:
    """Models whose replicas cannot be reached one by one."""

    async def load(self, model_name: str, version: str) -> int:
        """Nothing."""
        return 0

    async def unload(self, model_name: str, version: str) -> int:
        """Nothing."""
        return 0

    async def loaded(self, model_name: str) -> Mapping[str, Loaded]:
        """Nothing."""
        return {}

    def follow_default(self, model_name: str, version: str) -> None:
        """Nothing."""


@dataclass(slots=True)
class _Look:
    """What the last look at a source has found."""

    found: Found | None = None  # None: it has never answered
    at_s: float = float("-inf")
    problem: str | None = None


class Releases:
    """The versions of all models, as one ingress knows them.

    Args:
        catalog: the models.
        sources: where the versions lie, of the models that have several. Others have the one that their class
            declares.
        store: where the defaults are kept.
        events: how other ingresses hear of a change.
        replicas: where versions are loaded.
    """

    def __init__(
        self,
        catalog: Catalog,
        sources: Mapping[str, ArtifactSource],
        store: Store,
        events: EventHub,
        replicas: Replicas,
    ) -> None:
        self._catalog = catalog
        self._sources = sources
        self._store = store
        self._events = events
        self.replicas = replicas
        self._looks = {name: _Look() for name in sources}
        self._looking = {name: asyncio.Lock() for name in sources}
        self._defaults: Mapping[str, str] = {}
        self._told: set[str] = set()  # models whose replicas were told of another default
        self._background = Background()
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look for the first time, and go on doing so."""
        self._events.on_wake(Wake.DEFAULT, lambda _model_name: self._background.spawn(self._heard()))
        await asyncio.gather(self.follow(), *(self._look(name) for name in self._sources))
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Look no more."""
        await stop(self._keeper)
        await self._background.finish()

    # What a request gets

    async def choose(self, model_name: str, wanted: str | None) -> str | None:
        """The version that a request runs on.

        Args:
            model_name: a model of the catalog.
            wanted: the version it names, if it does.

        Returns:
            None for a model that has but one, if the request does not name it.

        Raises:
            VersionNotFound: the model has no such version; the message names those it has.
            Unavailable: it is not known which it has.
        """
        if model_name not in self._sources:
            if wanted is not None:
                self._check(model_name, wanted)
            return wanted
        version = self.default(model_name) if wanted is None else wanted
        if version not in (self._looks[model_name].found or ()):
            await self._look(model_name, again=True)
            if self._looks[model_name].found is None and wanted is None:
                return version  # the source is away; the replicas may have a copy
            self._check(model_name, version)
        return version

    def lane(self, model_name: str, version: str | None) -> str | None:
        """The version as queues and replicas are told it: None if the model has but one.

        Raises:
            VersionFailed: a job was to run on a version that its model does not have any more.
        """
        if model_name in self._sources:
            return self.default(model_name) if version is None else version
        if version is not None:
            try:
                self._check(model_name, version)
            except VersionNotFound as error:
                raise VersionFailed(error.detail) from None
        return None

    def default(self, model_name: str) -> str:
        """The version that answers where none is named."""
        return self._defaults.get(model_name) or self._first(model_name)

    def versions(self, model_name: str) -> Found:
        """What is known of each version, oldest first; empty for a model without artifacts."""
        look = self._looks.get(model_name)
        return (look and look.found) or {}

    def names(self, model_name: str) -> list[str]:
        """The versions of a model, oldest first; without artifacts it has the one that its class declares."""
        if model_name in self._sources:
            return list(self.versions(model_name))
        return [self._catalog[model_name].spec.version]

    # Changes

    async def load(self, model_name: str, version: str) -> int:
        """Load a version on every replica. Returns on how many.

        Raises:
            VersionNotFound: there is none of this name.
            VersionRefused: it cannot be loaded.
            Unavailable: it cannot be now.
        """
        await self._need(model_name, version)
        if model_name not in self._sources:
            return len(await self.replicas.loaded(model_name))
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                return await self.replicas.load(model_name, version)
        except VersionFailed as error:
            raise VersionRefused(f"version {version} of '{model_name}' cannot be loaded: {error}") from None
        except VersionUnavailable as error:
            raise Unavailable(error.detail, retry_after_s=5) from None
        except TimeoutError:
            raise Unavailable(
                f"version {version} of '{model_name}' is not loaded everywhere after {LOAD_TIMEOUT_S:g} s; "
                "the load goes on",
                retry_after_s=10,
            ) from None

    async def unload(self, model_name: str, version: str) -> int:
        """Put a version away on every replica, once nothing uses it. Returns on how many it was loaded.

        Raises:
            VersionNotFound: there is none of this name.
            VersionRefused: it is the one that answers where none is named.
            Unavailable: it is in use for very long.
        """
        await self._need(model_name, version)
        if version == self.default(model_name):
            raise VersionRefused(
                f"version {version} answers where none is named; make another one the default before"
            )
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                return await self.replicas.unload(model_name, version)
        except TimeoutError:
            raise Unavailable(f"version {version} is still in use; it goes when it is not") from None

    async def set_default(self, model_name: str, version: str) -> None:
        """Let a version answer where none is named. It is loaded everywhere before, so nobody waits for it.

        Raises:
            VersionNotFound, VersionRefused, Unavailable: as `load`; the default stays.
            StoreUnavailable: it is not known whether it was changed.
        """
        await self.load(model_name, version)
        if version != self.default(model_name):
            await self._store.set_default(model_name, version)
            await self._changed(model_name)

    async def roll_back(self, model_name: str) -> None:
        """Take back the last change of the default that stands.

        Raises:
            VersionRefused: there is none, or the version before it cannot be loaded.
            Unavailable, StoreUnavailable: as `set_default`.
        """
        standing = [c for c in await self.history(model_name) if c.undone_at is None]
        if not standing:
            raise VersionRefused(
                f"the default of '{model_name}' was not changed: there is nothing to go back to"
            )
        before = standing[1].version if len(standing) > 1 else self._first(model_name)
        try:
            await self.load(model_name, before)
        except VersionNotFound as error:
            raise VersionRefused(f"there is no way back: {error}") from None
        if not await self._store.undo_default(model_name, standing[0].version):
            raise VersionRefused(f"the default of '{model_name}' was changed by somebody else at this moment")
        await self._changed(model_name)

    async def history(self, model_name: str) -> list[DefaultChange]:
        """The last changes of the default, newest first."""
        return await self._store.default_history(model_name, limit=HISTORY)

    async def _changed(self, model_name: str) -> None:
        await self.follow()
        self._events.wake(Wake.DEFAULT, model_name)
        logger.info(
            "The default version was changed.",
            extra={"action": "default_changed", "model": model_name, "version": self.default(model_name)},
        )

    async def follow(self) -> None:
        """Take over the defaults that are in force.

        Raises:
            StoreUnavailable: they cannot be read.
        """
        self._defaults = await self._store.current_defaults()
        # Those that were changed, and those that were and are no more.
        self._told |= self._defaults.keys() & self._sources.keys()
        for name in self._told:
            self.replicas.follow_default(name, self.default(name))

    # Inside

    async def _heard(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self.follow()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.gather(*(self._look(name) for name in self._sources))

    async def _look(self, model_name: str, *, again: bool = False) -> None:
        look = self._looks[model_name]
        async with self._looking[model_name]:
            if again and time.monotonic() - look.at_s < LOOK_AGAIN_S:
                return
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    look.found, problem = await asyncio.to_thread(self._sources[model_name].list), None
            except (VersionUnavailable, TimeoutError) as error:
                problem = str(error) or f"no answer within {LOOK_TIMEOUT_S:g} s"
            look.at_s = time.monotonic()
            if problem and problem != look.problem:
                logger.warning(
                    "The versions of a model cannot be listed.",
                    extra={"action": "versions_unlisted", "model": model_name, "error": problem},
                )
            look.problem = problem

    async def _need(self, model_name: str, version: str) -> None:
        look = self._looks.get(model_name)
        if look is not None and version not in (look.found or ()):
            await self._look(model_name)
        self._check(model_name, version)

    def _first(self, model_name: str) -> str:
        entry = self._catalog[model_name]
        return first_version(entry.config.versions.default, entry.spec.version, self.versions(model_name))

    def _check(self, model_name: str, version: str | None) -> None:
        look = self._looks.get(model_name)
        if look is not None and look.found is None:
            raise Unavailable(
                f"the versions of '{model_name}' cannot be listed: {look.problem}", retry_after_s=5
            )
        names = self.names(model_name)
        if version is not None and version not in names:
            known = ", ".join(names[-20:]) or "none"
            raise VersionNotFound(f"'{model_name}' has no version '{version[:80]}'; there are: {known}")
