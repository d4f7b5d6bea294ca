"""The keys as an ingress knows them: all of them, so that no call waits for the database to be let in.

Changes are read again every few seconds, and at once when Redis says that there are some. What is not known
is looked for, a few times a second at most: guesses cost a hash each. With PostgreSQL away the keys that are
known go on working; none can be revoked meanwhile, as that is written there, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
from collections import defaultdict
from datetime import UTC, datetime

from satellite.access.callers import Caller
from satellite.access.keys import ApiKey, digest_of, id_of
from satellite.errors import StoreUnavailable, Unauthenticated
from satellite.store.keys import KeyStore
from satellite.tasks import stop

logger = logging.getLogger(__name__)

FOLLOW_S = 2.0
# How often, at most, keys that are not known make it look: who guesses waits, and costs no more.
LOOK_AGAIN_S = 0.25
USED_WRITE_S = 60.0


class Keyring:
    """Knows who comes with which key.

    Args:
        store: where the keys are.
        key_secret: what they are hashed with.
    """

    def __init__(self, store: KeyStore, key_secret: bytes) -> None:
        self._store = store
        self._key_secret = key_secret
        self._keys: dict[str, ApiKey] = {}
        self._callers: dict[str, Caller] = {}
        self._seen_at: datetime | None = None  # by the database's clock
        self._looked_at = float("-inf")  # monotonic seconds
        self._looking = asyncio.Lock()
        self._changed = asyncio.Event()
        self._used: dict[str, datetime] = {}
        self._used_written_at = time.monotonic()
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read all keys, and follow their changes.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.
        """
        await self._look()
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following, and record when keys were used."""
        await stop(self._task)
        await self._write_used()

    def wake(self, _value: str = "") -> None:
        """Keys have changed."""
        self._changed.set()

    async def authenticate(self, text: str) -> Caller:
        """Who comes with this key.

        Raises:
            Unauthenticated: it is none that is valid now.
        """
        caller = self._find(text)
        if caller is None and id_of(text) is not None:
            try:
                await self._look(since=time.monotonic(), pause_s=LOOK_AGAIN_S)
            except StoreUnavailable as error:
                raise StoreUnavailable(
                    "PostgreSQL does not answer, and this key is not known here yet", retry_after_s=2
                ) from error
            caller = self._find(text)
        if caller is None:
            raise self._refusal(text)
        assert caller.key_id is not None
        self._used[caller.key_id] = datetime.now(UTC)
        return caller

    async def ended(self, caller: Caller) -> None:
        """Return once the caller's key is no longer valid; never for one that came without a key."""
        changed = asyncio.Event()
        key_id = caller.key_id
        if key_id is None:
            await changed.wait()
            return
        self._waiting[key_id].add(changed)
        try:
            while (current := self.current(key_id)) is not None:
                left_s = current.expires_at and (current.expires_at - datetime.now(UTC)).total_seconds()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await changed.wait()
                changed.clear()
        finally:
            self._waiting[key_id].discard(changed)
            if not self._waiting[key_id]:
                del self._waiting[key_id]

    def current(self, key_id: str) -> Caller | None:
        """Who comes with the key of this id, if it is valid now."""
        caller = self._callers.get(key_id)
        return None if caller is None or caller.has_expired() else caller

    def _find(self, text: str) -> Caller | None:
        key_id = id_of(text)
        key = None if key_id is None else self._keys.get(key_id)
        if key is None or not hmac.compare_digest(key.digest, digest_of(text, self._key_secret)):
            return None
        return self.current(key.id)

    def _refusal(self, text: str) -> Unauthenticated:
        key_id = id_of(text)
        key = None if key_id is None else self._keys.get(key_id)
        if key_id is None:
            return Unauthenticated("this is not an API key: those look like sat_<id>_<secret>")
        # That a key has ended is told to who has the whole of it, and to nobody else.
        if key is None or not hmac.compare_digest(key.digest, digest_of(text, self._key_secret)):
            return Unauthenticated(f"there is no such API key (sat_{key_id}_...)")
        return Unauthenticated(f"the API key sat_{key_id}_... is {key.state}; ask for a new one")

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLLOW_S):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self._look(since=time.monotonic())
                if time.monotonic() - self._used_written_at > USED_WRITE_S:
                    await self._write_used()
            except StoreUnavailable:
                pass  # it says so itself, and what is known goes on working
            except Exception:
                logger.exception("Keys could not be read.", extra={"action": "keys_failed"})

    async def _look(self, *, since: float | None = None, pause_s: float = 0) -> None:
        """Read what has changed. Who waits while another reads takes what that one finds.

        Args:
            since: not if it was read after this moment.
            pause_s: not sooner after the last time.
        """
        async with self._looking:
            if since is not None and self._looked_at >= since:
                return
            await asyncio.sleep(max(0.0, self._looked_at + pause_s - time.monotonic()))
            began = time.monotonic()
            keys, self._seen_at = await self._store.changed_since(self._seen_at)
            self._looked_at = began
            for key in keys:
                self._keys[key.id] = key
                if key.revoked_at is None:
                    self._callers[key.id] = key.caller()
                else:
                    self._callers.pop(key.id, None)
                for changed in self._waiting.get(key.id, ()):
                    changed.set()

    async def _write_used(self) -> None:
        used, self._used = self._used, {}
        self._used_written_at = time.monotonic()
        if used:
            try:
                await self._store.used(used)
            except StoreUnavailable:
                self._used = {**used, **self._used}
