"""Consumes the topic of jobs as a member of a group: a thread of its own, as kafka-python's calls block."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, TopicPartition

from satellite.errors import Unavailable
from satellite.kafka.connect import Topics, client_options, connect
from satellite.kafka.intake import Intake, Taken
from satellite.kafka.messages import Record
from satellite.settings import Settings

logger = logging.getLogger(__name__)

POLL_MS = 200
MAX_RECORDS = 500
COMMIT_TIMEOUT_MS = 10_000
# Without heartbeats for so long a consumer is given up, and its partitions go to others.
SESSION_TIMEOUT_MS = 10_000
# How often the brokers are asked how much is left to read, and thereby whether they answer.
LOOK_S = 5.0
LOOK_TIMEOUT_MS = 2000
RETRY_S = 1.0


class JobConsumer:
    """One member of the group.

    An offset is committed only after `Intake.take` has returned for the messages before it. Whatever fails,
    the partition goes back to the first message that was not taken and waits a moment.

    Args:
        settings: where the brokers are.
        intake: takes the messages in, in the event loop that `start` was called in.

    Attributes:
        failure: why nothing is consumed; None when all is well.
        waiting: why partitions wait, by partition: a full queue is not a failure.
        lag: messages in its partitions that have not been taken; None: not known.
    """

    def __init__(self, settings: Settings, intake: Intake) -> None:
        self._topic = Topics(prefix=settings.kafka_prefix).jobs
        self._options: dict[str, Any] = client_options(settings) | {
            "group_id": Topics(prefix=settings.kafka_prefix).group,
            "enable_auto_commit": False,
            # What was sent before the system first came up is to be computed too.
            "auto_offset_reset": "earliest",
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "metadata_max_age_ms": 10_000,
            "max_poll_records": MAX_RECORDS,
        }
        self._intake = intake
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resume_at: dict[TopicPartition, float] = {}  # monotonic seconds
        self.failure: str | None = "it has not reached the brokers yet"
        self.waiting: Mapping[str, str] = {}
        self.lag: int | None = None

    def start(self) -> None:
        """Begin to consume. The brokers may be away; they are joined when they come."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Take in what was read, commit it, and leave the group."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 30)

    def _run(self) -> None:
        while not self._stopping.is_set():
            consumer: Any = None
            try:
                consumer = connect(KafkaConsumer, self._options)
                consumer.subscribe([self._topic])
                self._consume(consumer)
            except KafkaError as error:
                self._failed(f"Kafka does not answer: {error}")
            except Exception as error:
                logger.exception("The consumer failed.", extra={"action": "consumer_failed"})
                self._failed(f"{type(error).__name__}: {error}")
            finally:
                if consumer is not None:
                    self._leave(consumer)
            self._stopping.wait(RETRY_S)

    def _leave(self, consumer: Any) -> None:
        try:
            consumer.close(autocommit=False, timeout_ms=LOOK_TIMEOUT_MS)
        except Exception as error:
            logger.warning(
                "The consumer could not leave its group; it is missed after a while.",
                extra={"action": "consumer_left_late", "error": str(error)},
            )

    def _consume(self, consumer: Any) -> None:
        look_at = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= look_at:
                self._look(consumer)
                look_at = time.monotonic() + LOOK_S
            self._resume(consumer)
            batches: dict[TopicPartition, list[Record]] = consumer.poll(
                timeout_ms=POLL_MS, max_records=MAX_RECORDS
            )
            if batches:
                self._take(consumer, batches)

    def _take(self, consumer: Any, batches: Mapping[TopicPartition, Sequence[Record]]) -> None:
        assert self._loop is not None
        try:
            taken = asyncio.run_coroutine_threadsafe(self._intake.take(batches), self._loop).result()
        except Unavailable as error:
            self._failed(str(error))
            taken = _none(batches, error.retry_after_s or RETRY_S, str(error))
        except Exception as error:
            logger.exception("Messages could not be taken in.", extra={"action": "intake_failed"})
            self._failed(f"{type(error).__name__}: {error}")
            taken = _none(batches, RETRY_S, str(error))
        self._commit(consumer, batches, taken)
        assigned = consumer.assignment()
        for partition, end in taken.items():
            if end.retry_s is not None and partition in assigned:
                consumer.seek(partition, end.offset)
                consumer.pause(partition)
                self._resume_at[partition] = time.monotonic() + end.retry_s
        self.waiting = {
            **{name: why for name, why in self.waiting.items() if name not in map(str, taken)},
            **{str(partition): end.why for partition, end in taken.items() if end.why},
        }

    def _commit(
        self,
        consumer: Any,
        batches: Mapping[TopicPartition, Sequence[Record]],
        taken: Mapping[TopicPartition, Taken],
    ) -> None:
        offsets = {
            partition: OffsetAndMetadata(end.offset, "", -1)
            for partition, end in taken.items()
            if end.offset > batches[partition][0].offset
        }
        if not offsets:
            return
        try:
            consumer.commit(offsets, timeout_ms=COMMIT_TIMEOUT_MS)
        except KafkaError as error:
            # The group has changed, or the broker is away: the messages come again, here or elsewhere, and
            # find the jobs they have made.
            logger.warning(
                "Offsets could not be committed.", extra={"action": "commit_failed", "error": str(error)}
            )

    def _resume(self, consumer: Any) -> None:
        assigned = consumer.assignment()
        for partition, at in list(self._resume_at.items()):
            if partition not in assigned:
                del self._resume_at[partition]
                self.waiting = {name: why for name, why in self.waiting.items() if name != str(partition)}
            elif time.monotonic() >= at:
                del self._resume_at[partition]
                consumer.resume(partition)

    def _look(self, consumer: Any) -> None:
        """Ask the brokers how much there is to read, and thereby whether they answer."""
        partitions = list(consumer.assignment())
        try:
            asked = partitions or [TopicPartition(self._topic, 0)]
            ends = consumer.end_offsets(asked, timeout_ms=LOOK_TIMEOUT_MS)
        except KafkaError as error:
            self._failed(f"Kafka does not answer, or has no topic {self._topic}: {error}")
            return
        self.failure = None
        try:
            at = [consumer.position(partition, timeout_ms=LOOK_TIMEOUT_MS) for partition in partitions]
            self.lag = sum(max(0, ends[partition] - n) for partition, n in zip(partitions, at, strict=True))
        except KafkaError:
            self.lag = None  # it has just been assigned one

    def _failed(self, why: str) -> None:
        if self.failure != why:
            logger.warning("Messages are not consumed.", extra={"action": "consumer_away", "error": why})
        self.failure = why


def _none(
    batches: Mapping[TopicPartition, Sequence[Record]], retry_s: float, why: str
) -> dict[TopicPartition, Taken]:
    return {
        partition: Taken(offset=records[0].offset, retry_s=retry_s, why=why)
        for partition, records in batches.items()
    }
