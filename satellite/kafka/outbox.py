"""Sends steps and results out: the sinks of two log readers. See `satellite/logreader.py`."""

from __future__ import annotations

from collections.abc import Sequence

from satellite.kafka.connect import Topics
from satellite.kafka.messages import event_message, result_message
from satellite.kafka.producer import Producer
from satellite.logreader import Page
from satellite.store import Store, TenantEvent

# Jobs that are read at a time, as each may bring a result of up to a message's size.
JOBS_AT_A_TIME = 100
# What a result message holds beside the result and the labels (4 kB of those, at most 16 times).
ENVELOPE_BYTES = 8 * 1024


class Outbox:
    """Turns pages of the event log into messages.

    Args:
        store: where the jobs are.
        producer: where the messages go.
        topics: their names.
        max_message_bytes: a larger result stays in the database, and the message says where.
    """

    def __init__(self, store: Store, producer: Producer, topics: Topics, *, max_message_bytes: int) -> None:
        self._store = store
        self._producer = producer
        self._topics = topics
        self._max_result_bytes = max_message_bytes - ENVELOPE_BYTES

    async def send_events(self, page: Page) -> None:
        """Every step of a page.

        Raises:
            Unavailable: not all of it was taken.
        """
        await self._producer.send([event_message(event, self._topics.events) for event in page.events])

    async def send_results(self, page: Page) -> None:
        """Every job that ended in a page.

        Raises:
            Unavailable: not all of it was taken.
        """
        for start in range(0, len(page.events), JOBS_AT_A_TIME):
            await self._send_results(page.events[start : start + JOBS_AT_A_TIME])

    async def _send_results(self, events: Sequence[TenantEvent]) -> None:
        jobs = await self._store.ended_jobs(
            [event.job_id for event in events], max_result_bytes=self._max_result_bytes
        )
        topic = self._topics.results
        messages = {}
        for event in events:
            job, is_too_large = jobs.get(event.job_id, (None, False))
            message = result_message(event, job, topic, is_too_large=is_too_large)
            messages[message.key] = (message, event, job)
        refused = await self._producer.send([message for message, _, _ in messages.values()])
        # The topic takes less than the setting says: what it refuses goes without the result.
        smaller = [
            result_message(event, job, topic, is_too_large=True)
            for _, event, job in (messages[message.key] for message in refused)
        ]
        if smaller:
            await self._producer.send(smaller)
