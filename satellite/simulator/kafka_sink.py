"""Sends to the topic of jobs, and reads the results' topic; both block, so each has a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from satellite.errors import Unavailable
from satellite.kafka.connect import Topics, client_options, connect
from satellite.settings import Settings
from satellite.simulator.readings import Reading
from satellite.simulator.sinks import Asked, Ending

RUN, NUMBER = "simulator_run", "simulator_number"
POLL_MS = 200
FLUSH_S = 10


class KafkaSink:
    """One producer, and one consumer without a group, which reads what is sent from now on.

    A message is accepted once the brokers have it; so what Satellite rejects has ended. Results, and what was
    rejected, are known by two labels.

    Args:
        settings: where the brokers are.
        asked: what is asked of every reading.

    Raises:
        ConfigError: Kafka is not configured.
    """

    def __init__(self, settings: Settings, asked: Asked) -> None:
        self._settings, self._asked = settings, asked
        self._options = client_options(settings)
        self._topics = Topics(prefix=settings.kafka_prefix)
        self._run = uuid4().hex
        self._waiting: dict[str, asyncio.Future[Ending]] = {}
        self._stop = threading.Event()
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="kafka-sink")  # one, so that order is kept

    async def send(self, number: int, reading: Reading, accepted: Callable[[], None]) -> Ending:
        """Produces a message, and waits for its result."""
        loop = asyncio.get_running_loop()
        body = self._asked.body(reading)
        body["labels"] |= {RUN: self._run, NUMBER: str(number)}
        ending: asyncio.Future[Ending] = loop.create_future()
        self._waiting[str(number)] = ending
        try:
            await self._produce(loop, reading.device.encode(), json.dumps(body).encode())
            accepted()
            return await ending
        finally:
            del self._waiting[str(number)]

    async def __aenter__(self) -> Self:
        from kafka import KafkaConsumer, KafkaProducer
        from kafka.errors import KafkaError

        self._loop = asyncio.get_running_loop()
        to_come = {"group_id": None, "auto_offset_reset": "latest"}
        try:
            self._producer: Any = await asyncio.to_thread(
                connect, KafkaProducer, {**self._options, "acks": "all", "linger_ms": 5}
            )
            consumer: Any = await asyncio.to_thread(connect, KafkaConsumer, {**self._options, **to_come})
            await asyncio.to_thread(self._seek, consumer)
        except KafkaError as error:
            raise Unavailable(f"Kafka at {self._settings.kafka_bootstrap} does not answer: {error}") from None
        self._reader = threading.Thread(target=self._read, args=(consumer,), daemon=True)
        self._reader.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        await asyncio.to_thread(self._reader.join)
        await asyncio.to_thread(self._producer.close, FLUSH_S)
        self._sender.shutdown(wait=False)

    async def _produce(self, loop: asyncio.AbstractEventLoop, key: bytes, value: bytes) -> None:
        from kafka.errors import KafkaError

        done: asyncio.Future[None] = loop.create_future()

        def settle(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(Unavailable(f"Kafka did not take a message: {error}"))

        try:
            sent = await loop.run_in_executor(self._sender, self._offer, key, value)
        except KafkaError as error:
            raise Unavailable(f"Kafka did not take a message: {error}") from None
        sent.add_callback(lambda _: loop.call_soon_threadsafe(settle, None))
        sent.add_errback(lambda error: loop.call_soon_threadsafe(settle, error))
        await done

    def _offer(self, key: bytes, value: bytes) -> Any:
        return self._producer.send(self._topics.jobs, value, key=key)

    def _seek(self, consumer: Any) -> None:
        """Reads from the present end on: an offset of its own for each partition, before anything is sent."""
        from kafka.structs import TopicPartition

        names = (self._topics.results, self._topics.rejected)
        places = [
            TopicPartition(name, number)
            for name in names
            for number in sorted(consumer.partitions_for_topic(name) or ())
        ]
        if {place.topic for place in places} != set(names):
            raise Unavailable(f"a topic is missing of {', '.join(names)}: `satellite kafka topics --create`")
        consumer.assign(places)
        consumer.seek_to_end(*places)
        for place in places:
            consumer.position(place)

    def _read(self, consumer: Any) -> None:
        from kafka.errors import KafkaError

        with contextlib.closing(consumer):
            while not self._stop.is_set():
                # Brokers that are away come back; until then nothing ends.
                with contextlib.suppress(KafkaError):
                    for records in consumer.poll(timeout_ms=POLL_MS).values():
                        for record in records:
                            self._loop.call_soon_threadsafe(self._take, record)

    def _take(self, record: Any) -> None:
        try:
            message: Any = json.loads(record.value or b"")
            labels = message["labels"]
        except (ValueError, KeyError, TypeError):
            return  # another's
        ending = self._waiting.get(labels.get(NUMBER, "")) if labels.get(RUN) == self._run else None
        if ending is None or ending.done():
            return
        if record.topic == self._topics.rejected:
            codes = [value.decode() for name, value in record.headers if name == "satellite-code" and value]
            ending.set_result(Ending(status=f"rejected ({''.join(codes) or 'unknown'})"))
        else:
            ending.set_result(Ending(status=message["status"], output=message["result"]))
