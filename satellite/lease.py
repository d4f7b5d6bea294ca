"""An ingress holds its jobs as long as its heartbeat lives; what a lost ingress held is given back.

The heartbeat is a row in PostgreSQL, written and judged by the database's clock. The row is also the arbiter:
whoever declares an ingress lost marks its row, and from then on its heartbeats fail. So an outage of the
database, in which nobody can be declared lost, costs nobody a lease; but while its last heartbeat is too long
ago, an ingress cannot know whether its jobs are still its own, and starts none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

from satellite.errors import StoreUnavailable
from satellite.metrics import Metrics
from satellite.store import Store

logger = logging.getLogger(__name__)

LEASE_S = 15.0
HEARTBEAT_S = 1.5
# For so long an ingress must have been heard itself before it may call another one lost: after an outage of
# the database every living ingress has renewed its lease by then.
GRACE_S = 6.0
# A job is started only if the lease lasts for so long yet: checking and starting take time, too.
MARGIN_S = 0.5


class Lease:
    """The lease of one ingress.

    Args:
        store: where heartbeats are kept.
        renewed: called after every heartbeat, to do what else is due now and then.
        lost: called when the lease was lost and `owner` has changed.
        metrics: where lost leases are counted: by who declares them lost, as the loser may be gone.
    """

    def __init__(
        self,
        store: Store,
        *,
        renewed: Callable[[], Awaitable[None]],
        lost: Callable[[], None],
        metrics: Metrics,
    ) -> None:
        self.owner: UUID = uuid4()
        self._store = store
        self._on_renewed = renewed
        self._on_lost = lost
        self._metrics = metrics
        self._renewed_at = 0.0  # monotonic seconds, before the heartbeat was sent
        self._keeper: asyncio.Task[None] | None = None

    @property
    def is_held(self) -> bool:
        """Whether jobs held under it are certainly still this ingress's own."""
        return time.monotonic() - self._renewed_at < LEASE_S - MARGIN_S

    async def start(self) -> None:
        """Take up the lease and keep it. Nothing may be held under it before this returns."""
        await self.renew()
        self._keeper = asyncio.create_task(self._keep())

    async def close(self) -> set[str]:
        """Give the lease up: what is still held under it can be claimed at once.

        Returns:
            The models whose jobs were given back.
        """
        if self._keeper is not None:
            self._keeper.cancel()
        with contextlib.suppress(StoreUnavailable):
            return await self._store.release(self.owner)
        return set()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            try:
                await self.renew()
                await self._on_renewed()
            except StoreUnavailable:
                continue  # told by the store
            except Exception:
                logger.exception("The lease could not be looked after.", extra={"action": "lease_failed"})

    async def renew(self) -> None:
        """Send a heartbeat; under a new name, if the lease was lost."""
        began = time.monotonic()
        if not await self._store.heartbeat(self.owner, lease_s=LEASE_S):
            logger.error(
                "The lease was lost; the jobs held under it are others' now.",
                extra={"action": "lease_lost", "owner": str(self.owner)},
            )
            self.owner = uuid4()
            self._on_lost()
            await self._store.heartbeat(self.owner, lease_s=LEASE_S)
        self._renewed_at = began

    async def recover(self) -> tuple[list[tuple[UUID, str]], list[tuple[UUID, str]]]:
        """Give back what lost ingresses held.

        Returns:
            Id and model of the jobs that are `dead` now, having no attempt left, and of the others.
        """
        lost = await self._store.mark_lost(self.owner, lease_s=LEASE_S, grace_s=GRACE_S)
        dead, freed = await self._store.requeue_orphans()
        if lost or dead or freed:
            self._metrics.leases_lost.add(count=len(lost))
            for outcome, jobs in (("dead", dead), ("requeued", freed)):
                for _, model_name in jobs:
                    self._metrics.jobs_recovered.add(model_name, outcome)
            logger.warning(
                "The jobs of lost ingresses were given back.",
                extra={"action": "orphans_freed", "lost": len(lost), "freed": len(freed), "dead": len(dead)},
            )
        return dead, freed
