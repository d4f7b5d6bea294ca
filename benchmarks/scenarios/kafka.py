"""Ten thousand jobs through Kafka: messages in, results out, each once."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, KafkaProducer

from benchmarks.scenarios.calls import body_of
from benchmarks.scenarios.result import Finding, Result
from satellite.kafka.connect import Topics
from satellite.kafka.topics import Admin
from satellite.settings import Settings

JOBS = 10_000
PARTITIONS = 6
WARM_UP = 200
TIMEOUT_S = 180.0
LOOK_S = 0.1


def make_topics(bootstrap: str) -> None:
    """Make the topics at a new broker."""
    with Admin(Settings(kafka_bootstrap=bootstrap)) as admin:
        admin.create(partitions=PARTITIONS, replication=1)


async def run(bootstrap: str, *, jobs: int = JOBS) -> Result:
    """Send them as fast as one producer can, and wait for their results.

    Args:
        bootstrap: the broker that a running system is connected to.
        jobs: how many.
    """
    return await asyncio.to_thread(_run, bootstrap, jobs)


class _Results:
    """Reads the topic of results from now on, in a thread of its own."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.times_s: dict[str, float] = {}  # by the job's label
        self.messages = 0
        self._end = threading.Event()
        self._ready = threading.Event()
        self._options = {"bootstrap_servers": bootstrap, "group_id": None, "auto_offset_reset": "latest"}
        self._topic = topic
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        self._ready.wait(TIMEOUT_S)

    def _read(self) -> None:
        consumer: Any = KafkaConsumer(self._topic, **self._options)
        with closing(consumer):
            consumer.poll(timeout_ms=1000)
            for partition in consumer.assignment():
                consumer.position(partition)
            self._ready.set()
            while not self._end.is_set():
                for records in consumer.poll(timeout_ms=100).values():
                    for record in records:
                        body = json.loads(record.value)
                        if body["status"] == "succeeded":
                            self.messages += 1
                            self.times_s.setdefault(body["labels"]["n"], time.perf_counter())

    def wait(self, count: int) -> None:
        """Until so many jobs have ended."""
        deadline = time.monotonic() + TIMEOUT_S
        while len(self.times_s) < count and time.monotonic() < deadline:
            time.sleep(LOOK_S)

    def close(self) -> None:
        self._end.set()
        self._thread.join()


def _run(bootstrap: str, jobs: int) -> Result:
    topics = Topics(prefix="satellite")
    results = _Results(bootstrap, topics.results)
    try:
        _send(bootstrap, topics.jobs, [f"w{number}" for number in range(WARM_UP)])
        results.wait(WARM_UP)
        began = time.perf_counter()
        _send(bootstrap, topics.jobs, [str(number) for number in range(jobs)])
        sent_s = time.perf_counter() - began
        with Admin(Settings(kafka_bootstrap=bootstrap)) as admin:
            while sum(row["lag"] for row in admin.lag()):
                time.sleep(LOOK_S)
        taken_s = time.perf_counter() - began
        results.wait(WARM_UP + jobs)
        time.sleep(1)  # for those that come twice
    finally:
        results.close()
    distinct = len(results.times_s) - WARM_UP
    whole_s = max(results.times_s.values()) - began
    return Result(
        name="kafka",
        title=f"{jobs:,} jobs through Kafka",
        findings=(
            Finding(
                what="distinct results",
                measured=f"{distinct:,} of {results.messages - WARM_UP:,} messages",
                wanted=f"{jobs:,}",
                met=distinct == jobs,
                figures={"distinct": distinct, "messages": results.messages - WARM_UP},
            ),
            Finding(
                what="messages made durable, offsets committed",
                measured=f"{jobs / taken_s:,.0f}/s ({jobs / sent_s:,.0f}/s sent)",
                figures={"taken_per_s": jobs / taken_s, "sent_per_s": jobs / sent_s},
            ),
            Finding(
                what="from the first message to the last result",
                measured=f"{whole_s:.1f} s, {jobs / whole_s:,.0f} jobs/s",
                figures={"whole_s": whole_s, "per_s": jobs / whole_s},
            ),
        ),
    )


def _send(bootstrap: str, topic: str, names: Sequence[str]) -> None:
    producer: Any = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5, batch_size=65536)
    with closing(producer):
        body = body_of("echo")
        sent = [producer.send(topic, json.dumps({**body, "labels": {"n": name}}).encode()) for name in names]
        for future in sent:
            future.get(timeout=60)
