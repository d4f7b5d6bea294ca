"""Brings jobs that wait in the database to this ingress, the most pressing first, as it has room for them.

A job waits there if it is delayed, if the ingress that took it held enough already, or if the one that
held it stopped or was lost. Of what there is room for each tenant has an equal part. If what others
hold here leaves no room, a tenant that holds less than its part still gets what is missing
(`fairness.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from satellite.dispatch import ModelQueue
from satellite.errors import StoreUnavailable
from satellite.fairness import part_of
from satellite.jobs import Job
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
        # Of a model, the tenants of whom more waits in the database than was claimed: what comes new of
        # them must queue up behind it.
        self._backlog: dict[str, set[str]] = {name: set() for name in queues}
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        for name, queue in queues.items():
            queue.on_room = lambda name=name: self._has_room(name)

    def has_backlog(self, model_name: str, tenant: str) -> bool:
        """Whether a tenant's jobs of this model wait in the database, so that new ones must as well."""
        return tenant in self._backlog[model_name]

    def start(self) -> None:
        """Begin to claim."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Claim no more."""
        await stop(self._task)

    def expect(self, job: Job) -> None:
        """This job was left in the database, to be run at its time, or as soon as there is room."""
        delay_s = ((job.run_at or job.created_at) - datetime.now(UTC)).total_seconds()
        if delay_s > 0:
            # Should this process be gone by then, the others look now and then.
            asyncio.get_running_loop().call_later(delay_s + 0.001, self._awake.set)
        else:
            self._backlog[job.model_name].add(job.tenant)
            self._awake.set()

    def wake(self, _model_name: str = "") -> None:
        """Jobs may wait in the database."""
        self._awake.set()

    def _has_room(self, model_name: str) -> None:
        if self._backlog[model_name] and _room(self._max_held, len(self._queues[model_name])):
            self._awake.set()

    def _wanted(self, model_name: str) -> tuple[int, set[str]]:
        """How many jobs of a model to take in now, and the tenants of whom none are taken."""
        queue = self._queues[model_name]
        if room := _room(self._max_held, len(queue)):
            return room, set()
        late = self._backlog[model_name].union(queue.backlog)
        part = part_of(self._max_held, late, queue.held)
        rooms = {tenant: room for tenant in late if (room := _room(part, queue.held[tenant]))}
        return min(sum(rooms.values()), CLAIM_AT_A_TIME), {*queue.held} - {*rooms}

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
        wanted = {name: found for name in self._queues if (found := self._wanted(name))[0]}
        if owner is None or not wanted:
            return False
        claimed, more = await self._store.claim(
            owner,
            {name: most for name, (most, _) in wanted.items()},
            without=[(name, tenant) for name, (_, without) in wanted.items() for tenant in without],
        )
        counts = {name: Counter[str]() for name in wanted}
        for stored in claimed:
            counts[stored.job.model_name][stored.job.tenant] += 1
            self._adopt(stored)
        for name, (most, without) in wanted.items():
            queue, backlog = self._queues[name], self._backlog[name]
            for tenant, count in counts[name].items():
                queue.elsewhere.add(tenant, -count)
                queue.backlog.add(tenant, -count)
            # If each place went to another tenant, there may have been too few: who got none is where it was.
            unknown = backlog - {*counts[name]} if len(counts[name]) >= most else backlog & without
            self._backlog[name] = unknown | {tenant for model_name, tenant in more if model_name == name}
        return any(self._wanted(name)[0] for name in {name for name, _ in more})


def _room(limit: int, held: int) -> int:
    """How many jobs to take in: none until half the limit is free, so that claims are few and large."""
    free = limit - held
    return min(free, CLAIM_AT_A_TIME) if free >= min(limit // 2, CLAIM_AT_A_TIME) else 0
