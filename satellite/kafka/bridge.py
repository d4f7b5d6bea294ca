"""Everything that one replica does between Kafka and the job store, and how it is."""

from __future__ import annotations

from typing import Any

from satellite.catalog import Catalog
from satellite.events import EventHub, Wake
from satellite.jobs import JobStatus
from satellite.kafka.connect import Topics
from satellite.kafka.consumer import JobConsumer
from satellite.kafka.intake import Intake
from satellite.kafka.outbox import Outbox
from satellite.kafka.producer import Producer
from satellite.logreader import LogReader
from satellite.metrics import KafkaMetrics
from satellite.releases import Releases
from satellite.settings import Settings
from satellite.store import Store

ENDS = [status for status in JobStatus if status.is_terminal]


class Bridge:
    """A member of the consumer group, and of those that send steps and results out.

    Args:
        catalog: the models.
        releases: their versions.
        store: where the jobs are.
        events: wakes the ingresses, and is woken by them.
        metrics: counts what becomes a job.
        settings: where the brokers are.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        releases: Releases,
        store: Store,
        events: EventHub,
        metrics: KafkaMetrics,
        settings: Settings,
    ) -> None:
        topics = Topics(prefix=settings.kafka_prefix)
        self._store = store
        self._events = events
        self._releases = releases
        self._metrics = metrics
        self._producer = Producer(settings)
        self.intake = Intake(
            catalog=catalog,
            releases=releases,
            store=store,
            events=events,
            producer=self._producer,
            metrics=metrics,
            settings=settings,
        )
        self.consumer = JobConsumer(settings, self.intake)
        outbox = Outbox(store, self._producer, topics, max_message_bytes=settings.kafka_max_message_bytes)
        self.readers = (
            LogReader(store, topics.events, outbox.send_events),
            LogReader(store, topics.results, outbox.send_results, statuses=ENDS),
        )

    async def start(self) -> None:
        """Begin to consume and to produce."""
        for reader in self.readers:
            self._events.on_wake(Wake.LOG, reader.grew)
        await self._events.start()
        await self._releases.start()
        for reader in self.readers:
            reader.start()
        self.consumer.start()

    async def close(self) -> None:
        """Stop at a message's end, leave the group, let others read the log, and disconnect."""
        await self.consumer.close()
        for reader in self.readers:
            await reader.close()
        await self._producer.close()
        await self._releases.close()
        await self._events.close()
        await self._store.close()

    def look(self) -> None:
        """Set the metrics that nothing but a look at this moment tells."""
        if self.consumer.lag is not None:
            self._metrics.lag.set(self.consumer.lag)

    def health(self) -> dict[str, Any]:
        """How it is, as a part of `/health`."""
        consumer = self.consumer
        failures = [consumer.failure, *(reader.failure for reader in self.readers)]
        problems = dict.fromkeys(failure for failure in failures if failure)
        waiting = [f"{partition}: {why}" for partition, why in consumer.waiting.items()]
        return {
            "state": "degraded" if problems else "ok",
            "latency_ms": None,
            "detail": "; ".join([*problems, *waiting])[:500] or None,
        }
