"""Produces messages and waits until the brokers have them: kafka-python's producer, from an event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from satellite.errors import Unavailable
from satellite.kafka.connect import REQUEST_TIMEOUT_MS, client_options, connect
from satellite.kafka.messages import Message
from satellite.settings import Settings

logger = logging.getLogger(__name__)

DELIVERY_TIMEOUT_S = 20
# By then every message was confirmed or given up.
FLUSH_TIMEOUT_S = DELIVERY_TIMEOUT_S + 10
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class Producer:
    """An idempotent producer with `acks=all`. Messages with the same key keep their order.

    One thread does it all: what a caller who was cancelled has left behind is done before what comes next.

    Args:
        settings: where the brokers are.
    """

    def __init__(self, settings: Settings) -> None:
        self._options: dict[str, Any] = client_options(settings) | {
            "acks": "all",
            "enable_idempotence": True,
            "max_request_size": settings.kafka_max_message_bytes,
            "batch_size": 64 * 1024,
            "linger_ms": 5,
            "max_block_ms": REQUEST_TIMEOUT_MS,
            "delivery_timeout_ms": DELIVERY_TIMEOUT_S * 1000,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-producer")
        self._producer: Any = None

    async def send(self, messages: Sequence[Message]) -> list[Message]:
        """Produce messages, and wait until all brokers in sync have them.

        Returns:
            Those that are too large for a broker, and were not taken.

        Raises:
            Unavailable: not all were taken; those that were may be taken again.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._send, messages)

    async def close(self) -> None:
        """Disconnect."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    def _send(self, messages: Sequence[Message]) -> list[Message]:
        too_large: list[Message] = []
        try:
            if self._producer is None:
                self._producer = connect(KafkaProducer, self._options)
            sent: list[tuple[Message, Any]] = []
            for message in messages:
                try:
                    sent.append((message, self._offer(self._producer, message)))
                except TOO_LARGE:
                    too_large.append(message)
            self._producer.flush(FLUSH_TIMEOUT_S)
            for message, future in sent:
                try:
                    future.get(timeout=DELIVERY_TIMEOUT_S)
                except TOO_LARGE:
                    too_large.append(message)
        except KafkaError as error:
            # An idempotent producer that has given a message up cannot go on with its sequence.
            self._drop()
            raise Unavailable(f"Kafka does not take messages: {error}", retry_after_s=2) from error
        return too_large

    def _offer(self, producer: Any, message: Message) -> Any:
        return producer.send(
            message.topic, key=message.key, value=message.value, headers=list(message.headers)
        )

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                # Nothing of it may be on its way when the next one begins.
                producer.close(timeout=FLUSH_TIMEOUT_S)
            except KafkaError as error:
                logger.warning(
                    "A producer does not end.", extra={"action": "producer_stuck", "error": str(error)}
                )
