"""The outbox: steps in the event log become deliveries.

The log holds every step of every job, written by the statement that made the step, so it is an outbox
already. One statement reads on from a stored position, makes the deliveries and moves the position. It runs
in every process that sends; the row of the position is locked by one of them at a time. (So this log reader
needs no lease as those of `logreader.py` do, whose pages leave the database.)
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from satellite.errors import StoreUnavailable
from satellite.store import Store
from satellite.tasks import stop

logger = logging.getLogger(__name__)

PAGE = 1000
# How often the log is looked at if nobody says that it has grown.
POLL_S = 1.0
# It has grown, yet an older transaction may still be running and hide the newest rows: look again after
# these.
RETRY_S = (0.05, 0.2)
# Few large pages cost less than many small ones.
GATHER_S = 0.05
HOUSEKEEPING_S = 3600.0


class Outbox:
    """Fills `webhook_deliveries` until it is closed.

    Args:
        store: where the log is.
        filled: called when there are new deliveries.
        retention_days: after which deliveries that have ended are deleted.
        job_retention_days: after which jobs are dropped.
    """

    def __init__(
        self,
        store: Store,
        filled: Callable[[], None],
        *,
        retention_days: int,
        job_retention_days: int,
    ) -> None:
        self._store = store
        self._filled = filled
        self._retention = timedelta(days=retention_days)
        self._job_retention = timedelta(days=job_retention_days)
        self._grown = asyncio.Event()
        self._asked = asyncio.Event()
        self._housekeeping_due = 0.0  # monotonic seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    def grew(self, _value: str = "") -> None:
        """Somebody has written to the log."""
        self._grown.set()

    def ask(self, _value: str = "") -> None:
        """Somebody wants to be told, even if nobody did before."""
        self._asked.set()
        self._grown.set()

    async def close(self) -> None:
        """Stop; what is not in the outbox yet is found by whoever runs next."""
        await stop(self._task)

    async def _run(self) -> None:
        delays = iter(RETRY_S)
        while True:
            self._grown.clear()
            self._asked.clear()
            wanted = True
            try:
                wanted = await self._fill()
                await self._keep_house()
            except StoreUnavailable:
                pass
            except Exception:
                # An endpoint that was deleted in this moment, for one: the next look does not see it.
                logger.exception("The outbox could not be filled.", extra={"action": "outbox_failed"})
            if not wanted:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await self._asked.wait()  # however fast the log grows
                continue
            try:
                async with asyncio.timeout(next(delays, POLL_S)):
                    await self._grown.wait()
                delays = iter(RETRY_S)
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass

    async def _fill(self) -> bool:
        """Make deliveries of all there is. Returns False if nobody wants any."""
        webhooks = self._store.webhooks
        waits, wanted = await webhooks.outbox_state()
        if not wanted:
            await webhooks.pass_outbox()
            return False
        while waits:
            steps, made = await webhooks.fill_outbox(PAGE)
            if made:
                self._filled()
            waits = steps == PAGE
        return True

    async def _keep_house(self) -> None:
        if time.monotonic() < self._housekeeping_due:
            return
        self._housekeeping_due = time.monotonic() + HOUSEKEEPING_S
        now = datetime.now(UTC)
        await self._store.webhooks.forget(
            deliveries_before=now - self._retention, jobs_before=now - self._job_retention
        )
