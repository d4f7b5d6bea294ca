"""Sends what is due: claim, POST, record. Any number of processes may do it at the same time.

A claim is a lease: it lasts longer than a try may take, and a try counts only while its claim holds. Whoever
dies between the POST and the record leaves a delivery that comes due again, with the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from satellite.errors import StoreUnavailable
from satellite.store import Store
from satellite.tasks import stop
from satellite.webhooks.payload import message, needs_job
from satellite.webhooks.post import Poster
from satellite.webhooks.records import TEST_EVENT, Claimed, Target, Tried, TryEnd
from satellite.webhooks.signing import new_secret

logger = logging.getLogger(__name__)

# What a try may take beside its time-out: waiting for the database before and after.
LEASE_MARGIN_S = 45.0
# How often the database is looked at if nobody says that something is due.
POLL_S = 5.0
# What is due may wait for a host that takes no more now: not looked for more often than this.
PAUSE_S = 0.2
JITTER = 0.1


class Sender:
    """Sends deliveries until it is closed.

    Args:
        store: where they are.
        poster: makes the tries.
        timeout_s: of one try.
        retries_s: how long after each failed try the next one follows; after the last one it has failed.
        concurrency: tries at a time.
        per_host: tries at a time that go to the same host.
        max_bytes: of a message.
        sleep_jitter: from 0 to 1, by chance; replaced in tests.
    """

    def __init__(
        self,
        store: Store,
        poster: Poster,
        *,
        timeout_s: float,
        retries_s: Sequence[float],
        concurrency: int,
        per_host: int,
        max_bytes: int,
        sleep_jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._poster = poster
        self._lease_s = timeout_s + LEASE_MARGIN_S
        self._retries_s = retries_s
        self._concurrency = concurrency
        self._per_host = per_host
        self._max_bytes = max_bytes
        self._jitter = sleep_jitter
        self._busy: Counter[str] = Counter()
        self._sending: set[asyncio.Task[None]] = set()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    def wake(self, _value: str = "") -> None:
        """Something is due."""
        self._due.set()

    async def close(self) -> None:
        """Take nothing new, and wait for what is being sent."""
        await stop(self._task)
        if self._sending:
            await asyncio.wait(set(self._sending))

    async def _run(self) -> None:
        while True:
            self._due.clear()
            wait_s = POLL_S
            try:
                free = self._concurrency - len(self._sending)
                claimed = await self._claim(free) if free else []
                for delivery in claimed:
                    self._begin(delivery)
                if not claimed and free:
                    due_s = await self._store.webhooks.next_due_s()
                    wait_s = POLL_S if due_s is None else min(max(due_s, PAUSE_S), POLL_S)
                elif free:
                    continue  # there may be more
            except StoreUnavailable:
                pass
            except Exception:
                logger.exception("Webhooks could not be claimed.", extra={"action": "webhook_claim_failed"})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._due.wait()

    async def _claim(self, free: int) -> list[Claimed]:
        return await self._store.webhooks.claim(
            limit=free, per_host=self._per_host, busy=self._busy, lease_s=self._lease_s
        )

    def _begin(self, delivery: Claimed) -> None:
        self._busy[delivery.host] += 1
        task = asyncio.create_task(self._deliver(delivery))
        self._sending.add(task)
        task.add_done_callback(lambda task: self._ended(task, delivery))

    def _ended(self, task: asyncio.Task[None], delivery: Claimed) -> None:
        self._sending.discard(task)
        self._busy[delivery.host] -= 1
        if not self._busy[delivery.host]:
            del self._busy[delivery.host]
        self._due.set()  # there is room again
        if not task.cancelled() and (error := task.exception()) is not None:
            # Not recorded: it is due again when its lease ends.
            logger.error(
                "A webhook could not be sent.",
                exc_info=error if not isinstance(error, StoreUnavailable) else None,
                extra={"action": "webhook_broken", "delivery_id": str(delivery.id)},
            )

    async def _deliver(self, delivery: Claimed) -> None:
        target = await self._target(delivery)
        if target is None:
            return  # its endpoint was deleted, and the delivery with it
        if target.enabled or delivery.event == TEST_EVENT:
            job = None
            if delivery.job_id is not None and needs_job(delivery):
                job = await self._store.get(delivery.job_id, delivery.tenant)
            body = message(delivery, job, max_bytes=self._max_bytes)
            tried = await self._poster.post(target.url, delivery.message_id, body, secrets=target.secrets)
        else:
            tried = _not_tried("the endpoint is disabled")
        await self._record(delivery, tried)

    async def _target(self, delivery: Claimed) -> Target | None:
        if delivery.endpoint_id is not None:
            return await self._store.webhooks.target(delivery.endpoint_id)
        assert delivery.url is not None
        secrets = await self._store.webhooks.job_secrets(delivery.tenant, new=new_secret())
        return Target(url=delivery.url, enabled=True, secrets=secrets)

    async def _record(self, delivery: Claimed, tried: Tried) -> None:
        if tried.error is None:
            status = "delivered"
        elif tried.is_final or delivery.tries > len(self._retries_s):
            status = "failed"
        else:
            status = "pending"
        delay_s = 0.0
        if status == "pending":
            delay_s = self._retries_s[delivery.tries - 1] * (1 + JITTER * self._jitter())
            delay_s = max(delay_s, tried.retry_after_s or 0)
        end = TryEnd(id=delivery.id, claim=delivery.claim, tried=tried, status=status, delay_s=delay_s)
        counted = await self._store.webhooks.finish(end)
        logger.log(
            logging.DEBUG if tried.error is None else logging.INFO,
            "A webhook was %s.",
            {"delivered": "delivered", "failed": "given up", "pending": "not taken; it is sent again"}[
                status
            ],
            extra={
                "action": "webhook_tried",
                "delivery_id": str(delivery.id),
                "host": delivery.host,
                "job_id": str(delivery.job_id),
                "try_number": delivery.tries,
                "status_code": tried.status_code,
                "error": tried.error,
                "counted": counted,
            },
        )
        if counted and tried.is_final and tried.status_code is not None and delivery.endpoint_id is not None:
            await self._store.webhooks.disable(delivery.endpoint_id, "the receiver answered 410 Gone")


def _not_tried(why: str) -> Tried:
    return Tried(at=datetime.now(UTC), duration_s=0, error=why, is_final=True)
