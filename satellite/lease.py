"""An ingress holds its jobs as long as its heartbeat lives; what a lost ingress held is taken over.

The heartbeat is a row in PostgreSQL, written and judged by the database's clock. An ingress that was silent
for longer than a lease (a long pause, an unreachable database) must assume that its jobs are others' now: it
drops what it has not handed over and goes on under a new name. What it still completes under the old one is
fenced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

from satellite.errors import StoreUnavailable
from satellite.jobs import Job
from satellite.store import Orphan, Store

logger = logging.getLogger(__name__)

LEASE_S = 15.0
HEARTBEAT_S = 3.0
# Jobs taken over at a time; more are left to the others, or to the next round.
MAX_CLAIM = 200


class Lease:
    """The lease of one ingress.

    Args:
        store: where heartbeats are kept.
        models: the models whose orphans may be taken over.
        adopt: called with each orphan that this lease holds now.
        bury: called with each orphan that had no attempt left and is `dead` now.
        lost: called when the lease has run out and `owner` has changed.
    """

    def __init__(
        self,
        store: Store,
        models: Sequence[str],
        *,
        adopt: Callable[[Orphan], None],
        bury: Callable[[Job], None],
        lost: Callable[[], None],
    ) -> None:
        self.owner: UUID = uuid4()
        self._store = store
        self._models = models
        self._adopt = adopt
        self._bury = bury
        self._lost = lost
        self._renewed = 0.0  # monotonic seconds
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Take up the lease and keep it. Nothing may be held under it before this returns."""
        self._renewed = time.monotonic()
        await self._store.heartbeat(self.owner)
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Give the lease up: whatever is still held under it can be taken over at once."""
        if self._keeper is not None:
            self._keeper.cancel()
        with contextlib.suppress(StoreUnavailable):
            await self._store.retire(self.owner)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                await self.renew()
                await self.claim()
            except StoreUnavailable:
                continue  # told by the store
            except Exception:
                logger.exception("The lease could not be looked after.", extra={"action": "lease_failed"})

    async def renew(self) -> None:
        """Send a heartbeat, under a new name if the last one is too long ago."""
        began = time.monotonic()
        if began - self._renewed > LEASE_S:
            logger.error(
                "The lease has run out; the jobs held under it are left to others.",
                extra={"action": "lease_lost", "owner": str(self.owner)},
            )
            self.owner = uuid4()
            self._lost()
        await self._store.heartbeat(self.owner)
        self._renewed = began

    async def claim(self) -> None:
        """Take over jobs of ingresses that were lost."""
        dead, orphans = await self._store.claim_orphans(
            self.owner, self._models, lease_s=LEASE_S, limit=MAX_CLAIM
        )
        if dead or orphans:
            logger.warning(
                "Jobs of a lost ingress were taken over.",
                extra={"action": "orphans_claimed", "claimed": len(orphans), "dead": len(dead)},
            )
        for job in dead:
            self._bury(job)
        for orphan in orphans:
            self._adopt(orphan)
