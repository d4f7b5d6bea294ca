"""What an ingress does now and then, beside the way of a job: recover, expire, look, forget."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from satellite.events import Wake
from satellite.fairness import Tally
from satellite.jobs import JobStatus
from satellite.settings import Settings
from satellite.store import OpenJobs

if TYPE_CHECKING:
    from satellite.service import Service

logger = logging.getLogger(__name__)

HOUSEKEEPING_S = 3600.0
# Strays are looked for until they are older than a minute, from which on they are taken for strays.
STRAYS_S = 120.0
TABLES_S = 60.0


class Upkeep:
    """Runs after every heartbeat of the lease.

    Args:
        service: whose jobs and queues these are.
        settings: how long things are kept.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._housekeeping_due = 0.0  # monotonic seconds
        self._strays_until = 0.0
        self._tables_due = 0.0

    def expect_strays(self) -> None:
        """A write failed, and may have been committed: what is owned here may not be held here."""
        self._strays_until = time.monotonic() + STRAYS_S

    async def run(self) -> None:
        """One round."""
        service = self._service
        dead, freed = await service.lease.recover()
        for job_id, _ in dead:
            await service.held.publish_stored(job_id)
        for model_name in {model_name for _, model_name in freed}:
            service.events.wake(Wake.WORK, model_name)
        for job_id, _ in await service.store.expire():
            await service.held.publish_stored(job_id)
        for job_id in await service.store.cancels_requested(service.owner):
            service.held.cancel(job_id)
        if time.monotonic() < self._strays_until:
            for model_name in await service.store.release_strays(service.owner, service.held.ids):
                service.events.wake(Wake.WORK, model_name)
        await service.releases.follow()
        await self._look_at_jobs()
        if time.monotonic() >= self._tables_due:
            self._tables_due = time.monotonic() + TABLES_S
            await self._look_at_tables()
        if time.monotonic() >= self._housekeeping_due:
            self._housekeeping_due = time.monotonic() + HOUSEKEEPING_S
            await self._keep_house()

    async def _look_at_jobs(self) -> None:
        service, metrics = self._service, self._service.metrics
        found = await service.store.open_jobs(service.owner)
        for name, queue in service.queues.items():
            jobs = found.get(name, OpenJobs())
            queue.elsewhere, queue.backlog = Tally(jobs.elsewhere), Tally(jobs.backlog)
            queue.backlog_since_s = jobs.backlog_since_s
            metrics.jobs.set(jobs.queued, name, JobStatus.QUEUED)
            metrics.jobs.set(jobs.running, name, JobStatus.RUNNING)
            metrics.oldest_job_wait_seconds.set(jobs.oldest_wait_s, name)

    async def _look_at_tables(self) -> None:
        metrics = self._service.metrics
        kept_days = {"jobs": self._settings.retention_days, "events": self._settings.event_retention_days}
        today = datetime.now(UTC).date()
        for name, (size_bytes, oldest) in (await self._service.store.tables()).items():
            metrics.table_bytes.set(size_bytes, name)
            metrics.table_overdue_days.set(max(0, (today - oldest).days - kept_days[name]), name)

    async def _keep_house(self) -> None:
        settings = self._settings
        await self._service.store.ensure_partitions()
        dropped = await self._service.store.drop_partitions(
            retention_days=settings.retention_days, log_days=settings.event_retention_days
        )
        await self._service.store.forget(keys_after_s=settings.idempotency_hours * 3600)
        if dropped:
            logger.info(
                "Old days were dropped.", extra={"action": "partitions_dropped", "tables": ", ".join(dropped)}
            )
