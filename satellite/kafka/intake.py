"""Makes jobs of messages: checks them, inserts them in groups, and sends back what cannot be a job.

The jobs are inserted without an owner, as a consumer computes nothing. They wait in the database until the
feed of an ingress claims them, which it is woken to do.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID, uuid4

from satellite.admission import make_job
from satellite.catalog import Catalog
from satellite.discreet import discreet
from satellite.errors import IdempotencyConflict, QueueFull, SatelliteError, StoreUnavailable, Unavailable
from satellite.events import EventHub, Wake
from satellite.fairness import Tally, has_room
from satellite.kafka.connect import Topics
from satellite.kafka.messages import Message, Record, parse_record, rejection, without_value
from satellite.kafka.producer import Producer
from satellite.metrics import KafkaMetrics
from satellite.releases import Releases
from satellite.settings import Settings
from satellite.store import NewJob, Store, Verdict
from satellite.webhooks.receivers import Receivers

logger = logging.getLogger(__name__)

# Messages that come faster than they are computed wait in Kafka, once so large a part of `max_queued` waits
# here: the rest is for other callers.
SHARE = 0.5
# How often it is looked how many jobs wait.
LOOK_S = 1.0
RETRY_S = 2.0

P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """How far a partition was taken.

    Attributes:
        offset: of the next message to take; all before it are jobs or were rejected, durably.
        retry_s: after how long to try that one; None: there was no obstacle.
        why: the obstacle.
    """

    offset: int
    retry_s: float | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    record: Record
    job: NewJob


class Intake:
    """Takes messages in for one consumer.

    Args:
        catalog: the models.
        releases: their versions.
        store: where the jobs go.
        events: wakes the ingresses.
        producer: for what is rejected.
        metrics: counts what becomes a job.
        settings: limits, and the names of the topics.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        releases: Releases,
        store: Store,
        events: EventHub,
        producer: Producer,
        metrics: KafkaMetrics,
        settings: Settings,
    ) -> None:
        self._catalog = catalog
        self._releases = releases
        self._store = store
        self._events = events
        self._producer = producer
        self._metrics = metrics
        self._max_bytes = settings.max_body_bytes
        self._tenant = settings.kafka_tenant
        self._receivers = Receivers.of(settings)
        self._topics = Topics(prefix=settings.kafka_prefix)
        self._nobody = uuid4()  # owns nothing: what waits "elsewhere" is all that waits
        self._waiting: defaultdict[str, Tally] = defaultdict(Tally)
        self._looked_at = float("-inf")  # monotonic seconds
        self.accepted = 0
        self.rejected = 0

    async def take(self, batches: Mapping[P, Sequence[Record]]) -> dict[P, Taken]:
        """Make what came durable, as jobs or as rejections, partition by partition, in order.

        A message that can be a job later (its model's queue is full, say) stops its partition before it.

        Raises:
            Unavailable: PostgreSQL or Kafka are away. What was taken is not known; it can all come again.
        """
        await self._look()
        rows: list[_Row] = []
        refused: list[tuple[Record, SatelliteError]] = []
        taken: dict[P, Taken] = {}
        for partition, records in batches.items():
            taken[partition] = Taken(offset=records[-1].offset + 1)
            for record in records:
                try:
                    rows.append(_Row(record=record, job=await self._row(record)))
                except (QueueFull, Unavailable) as error:
                    retry_s = error.retry_after_s or RETRY_S
                    taken[partition] = Taken(offset=record.offset, retry_s=retry_s, why=str(error))
                    break
                except SatelliteError as error:
                    refused.append((record, error))
        if rows:
            refused += await self._insert(rows)
        if refused:
            await self._reject([rejection(record, error, self._topics.rejected) for record, error in refused])
            logger.warning(
                "Messages that cannot be jobs were sent back.",
                extra={
                    "action": "messages_rejected",
                    "count": len(refused),
                    "codes": ", ".join(sorted({error.code for _, error in refused})),
                },
            )
        return taken

    async def _look(self) -> None:
        if time.monotonic() - self._looked_at > LOOK_S:
            await self._releases.follow()
            jobs = await self._store.open_jobs(self._nobody)
            self._waiting.clear()
            self._waiting.update({name: Tally(found.elsewhere) for name, found in jobs.items()})
            self._looked_at = time.monotonic()

    async def _row(self, record: Record) -> NewJob:
        """A message as a job that can be inserted.

        Raises:
            SatelliteError: it cannot be one; QueueFull and Unavailable: not now.
        """
        try:
            submission = parse_record(record, max_bytes=self._max_bytes)
            job, request = await make_job(submission, self._tenant, self._catalog, self._releases)
            webhook = submission.webhook and await self._receivers.of_job(submission.webhook)
        except SatelliteError:
            raise
        except Exception as error:
            # One message must not stop its partition for good, whatever a model's own checks do.
            logger.error(
                "A message could not be checked.",
                exc_info=discreet(error),
                extra={"action": "message_unchecked"},
            )
            raise SatelliteError("the message could not be checked; what happened is in the log") from error
        most = max(1, int(self._catalog[job.model_name].config.max_queued * SHARE))
        waiting = self._waiting[job.model_name]
        if not has_room(most, job.tenant, 1, waiting):
            raise QueueFull(f"{most} jobs or more wait for '{job.model_name}'; Kafka holds the others")
        waiting.add(job.tenant)
        return NewJob(
            job=job,
            input=request.data,
            config=request.config,
            owner=None,
            idempotency=submission.idempotency,
            webhook=webhook,
        )

    async def _insert(self, rows: Sequence[_Row]) -> list[tuple[Record, SatelliteError]]:
        """Insert jobs in one statement, and wake who runs them. Returns what is refused."""
        try:
            verdicts = await self._store.insert_all([row.job for row in rows])
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(rows) == 1:
                logger.error(
                    "A message could not be stored.",
                    exc_info=discreet(error),
                    extra={"action": "message_unstored"},
                )
                return [(rows[0].record, SatelliteError("the message could not be stored; see the log"))]
            # One of them is the reason: it alone is to be refused.
            return [refused for row in rows for refused in await self._insert([row])]
        return self._inserted(rows, verdicts)

    def _inserted(
        self, rows: Sequence[_Row], verdicts: Sequence[Verdict]
    ) -> list[tuple[Record, SatelliteError]]:
        models: set[str] = set()
        refused: list[tuple[Record, SatelliteError]] = []
        for row, verdict in zip(rows, verdicts, strict=True):
            if isinstance(verdict, IdempotencyConflict):
                refused.append((row.record, verdict))
            elif _is_new(verdict, row.job):
                models.add(row.job.job.model_name)
                self.accepted += 1
                self._metrics.jobs_submitted.add(row.job.job.model_name)
        if models:
            self._events.wake(Wake.LOG)
        if any(row.job.webhook for row in rows):
            self._events.wake(Wake.WEBHOOK)
        for model_name in models:
            self._events.wake(Wake.WORK, model_name)
        return refused

    async def _reject(self, messages: Sequence[Message]) -> None:
        too_large = await self._producer.send(messages)
        if too_large:
            await self._producer.send([without_value(message) for message in too_large])
        self.rejected += len(messages)
        self._metrics.messages_rejected.add(count=len(messages))


def _is_new(verdict: UUID, new: NewJob) -> bool:
    """Whether a message has made a job, rather than found the one that it made before."""
    return verdict == new.job.job_id
