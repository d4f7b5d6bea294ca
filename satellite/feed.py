"""Brings jobs that wait in the database to this ingress, the most pressing first, as it has room for them.

A job waits there if it is delayed, if the ingress that took it held enough already, or if the one that held
it stopped or was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from satellite.dispatch import ModelQueue
from satellite.errors import StoreUnavailable
from satellite.store import Store, StoredJob
from satellite.tasks import stop

logger = logging.getLogger(__name__)

# Payloads can be large: so many jobs of a model are taken at a time, and more as these have left.
CLAIM_AT_A_TIME = 200
POLL_S = 1.0


class Feed:
    """Claims jobs for one ingress.

    Args:
        store: where they wait.
        queues: where they go.
        max_held: how many jobs of a model may be held here.
        owner: the lease to claim them under, now; None while none may be claimed.
        adopt: called with each job that is held here now.
    """

    def __init__(
        self,
        store: Store,
        queues: Mapping[str, ModelQueue],
        *,
        max_held: int,
        owner: Callable[[], UUID | None],
        adopt: Callable[[StoredJob], None],
    ) -> None:
        self._store = store
        self._queues = queues
        self._max_held = max_held
        self._owner = owner
        self._adopt = adopt
        # Models of which more waits in the database than was claimed: what comes new must queue up behind it.
        self._backlog: set[str] = set()
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        for name, queue in queues.items():
            queue.on_room = lambda name=name: self._has_room(name)

    def has_backlog(self, model_name: str) -> bool:
        """Whether jobs of this model wait in the database, so that new ones must as well."""
        return model_name in self._backlog

    def start(self) -> None:
        """Begin to claim."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Claim no more."""
        await stop(self._task)

    def expect(self, model_name: str, run_at: datetime) -> None:
        """A job was left in the database, to be run at this moment, or as soon as there is room."""
        delay_s = (run_at - datetime.now(UTC)).total_seconds()
        if delay_s > 0:
            # Should this process be gone by then, the others look now and then.
            asyncio.get_running_loop().call_later(delay_s + 0.001, self._awake.set)
        else:
            self._backlog.add(model_name)
            self._awake.set()

    def wake(self, _model_name: str = "") -> None:
        """Jobs may wait in the database."""
        self._awake.set()

    def _has_room(self, model_name: str) -> None:
        if model_name in self._backlog and self._room(self._queues[model_name]):
            self._awake.set()

    def _room(self, queue: ModelQueue) -> int:
        """How many jobs to take in: none until half the room is free, so that claims are few and large."""
        free = self._max_held - len(queue)
        return min(free, CLAIM_AT_A_TIME) if free >= min(self._max_held // 2, CLAIM_AT_A_TIME) else 0

    async def _keep(self) -> None:
        while True:
            self._awake.clear()
            try:
                again = await self.claim()
            except StoreUnavailable:
                again = False
            except Exception:
                logger.exception("Jobs could not be claimed.", extra={"action": "claim_failed"})
                again = False
            if not again:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._awake.wait()

    async def claim(self) -> bool:
        """Take in what there is room for. Returns whether there may be more, and room for it."""
        owner = self._owner()
        most = {name: room for name, queue in self._queues.items() if (room := self._room(queue))}
        if owner is None or not most:
            return False
        claimed, more = await self._store.claim(owner, most)
        counts = dict.fromkeys(most, 0)
        for stored in claimed:
            counts[stored.job.model_name] += 1
            self._adopt(stored)
        for name, count in counts.items():
            queue = self._queues[name]
            queue.elsewhere = max(0, queue.elsewhere - count)
            queue.backlog = max(0, queue.backlog - count)
        full = {name for name, _ in more}
        self._backlog = (self._backlog - set(counts)) | full
        return any(self._room(self._queues[name]) for name in full)
