"""Jobs that come in through Kafka beside the callers' own, and what leaves through it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import TopicPartition

from satellite.kafka.connect import Topics
from satellite.kafka.topics import Admin
from satellite.settings import Settings
from tests.faults.evidence import Message, ResultSeen
from tests.faults.load import MODEL
from tests.system import PARTITIONS, System

SETTLE_S = 60.0
LOOK_S = 0.3


class Line:
    """The messages of one scenario.

    Args:
        system: one with a broker.
        prefix: of all nonces.
    """

    def __init__(self, system: System, prefix: str) -> None:
        assert system.kafka is not None
        self._broker = system.kafka
        self._settings = _settings(system)
        self._topics = Topics(prefix=self._settings.kafka_prefix)
        self._prefix = prefix
        with closing(self._consumer()) as consumer:
            self._begin = consumer.end_offsets(self._partitions(self._topics.jobs))
            self._begin |= consumer.end_offsets(self._partitions(self._topics.results))
        self.nonces: list[str] = []

    async def produce(self, count: int, duration_s: float) -> None:
        """Send so many messages, evenly; while the broker is away they wait in the producer."""
        producer = await asyncio.to_thread(
            KafkaProducer,
            bootstrap_servers=self._broker.bootstrap,
            acks="all",
            reconnect_backoff_max_ms=500,
        )
        try:
            sent = []
            for number in range(count):
                nonce = f"{self._prefix}-message-{number}"
                self.nonces.append(nonce)
                op = "sleep" if number % 4 == 0 else "echo"
                data: dict[str, Any] = {"nonce": nonce, "op": op}
                if op == "sleep":
                    data["seconds"] = 0.1
                value = json.dumps({"model_name": MODEL, "data": data}).encode()
                sent.append(await asyncio.to_thread(producer.send, self._topics.jobs, value))
                await asyncio.sleep(duration_s / count)
            for future in sent:
                await asyncio.to_thread(future.get, 60)
        finally:
            await asyncio.to_thread(producer.close)

    async def settle(self) -> None:
        """Until every message has been taken and its offset committed, or for a reasonable time."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline and await asyncio.to_thread(self._lag):
            await asyncio.sleep(LOOK_S)

    async def collect(self, ended: set[str]) -> tuple[list[Message], list[ResultSeen]]:
        """What is in the topics, once all jobs in `ended` are among the results, or none comes any more."""
        return await asyncio.to_thread(self._collect, ended)

    def _collect(self, ended: set[str]) -> tuple[list[Message], list[ResultSeen]]:
        committed = self._committed()
        messages = [
            Message(
                partition=record.partition,
                offset=record.offset,
                key=f"kafka:{record.topic}:{record.partition}:{record.offset}:{record.timestamp}",
                committed=record.offset < committed[record.partition],
            )
            for record in self._read(self._topics.jobs, set())
        ]
        results = []
        for record in self._read(self._topics.results, ended):
            body = json.loads(record.value)
            nonce = (body["result"] or {}).get("nonce")
            results.append(ResultSeen(job_id=body["job_id"], status=body["status"], nonce=nonce))
        return messages, results

    def _read(self, topic: str, wanted: set[str]) -> Iterator[Any]:
        """All messages since the scenario began, waiting for those whose keys are wanted."""
        missing, deadline = set(wanted), time.monotonic() + SETTLE_S
        with closing(self._consumer()) as consumer:
            partitions = self._partitions(topic)
            consumer.assign(partitions)
            for partition in partitions:
                consumer.seek(partition, self._begin[partition])
            while time.monotonic() < deadline:
                records = [r for found in consumer.poll(timeout_ms=200).values() for r in found]
                for record in records:
                    missing.discard((record.key or b"").decode())
                    yield record
                ends = consumer.end_offsets(partitions)
                at_end = all(consumer.position(p) >= ends[p] for p in partitions)
                if at_end and not missing:
                    return

    def _lag(self) -> int:
        with Admin(self._settings) as admin:
            return sum(row["lag"] for row in admin.lag())

    def _committed(self) -> dict[int, int]:
        with Admin(self._settings) as admin:
            return {row["partition"]: row["committed"] or 0 for row in admin.lag()}

    def _consumer(self) -> Any:
        return KafkaConsumer(bootstrap_servers=self._broker.bootstrap, group_id=None)

    def _partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in range(PARTITIONS)]


def _settings(system: System) -> Settings:
    assert system.kafka is not None
    return Settings(kafka_bootstrap=system.kafka.bootstrap)
