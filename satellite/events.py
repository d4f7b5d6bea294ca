"""Tells everyone who watches a job what happens to it, on whichever ingress they are.

Redis only wakes, caches and fans out; without it everything still works from PostgreSQL, later and slower.

==================================  =========  ==========================================================
key or channel                      kind       holds
==================================  =========  ==========================================================
`satellite:job:{job_id}`            channel    the events of one job
`satellite:model:{model_name}`      channel    the events of all jobs of one model
`satellite:result:{job_id}`         string     a finished job in its wire form, for `result_cache_s` seconds
==================================  =========  ==========================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import redis.asyncio as redis
from redis.exceptions import RedisError

from satellite.errors import SlowReader
from satellite.jobs import JobStatus

logger = logging.getLogger(__name__)

# How many unread events a watcher may pile up before it is told that it reads too slowly.
MAX_UNREAD = 1000
RECONNECT_S = 0.5
REDIS_TIMEOUT_S = 2.0


def job_channel(job_id: UUID | str) -> str:
    """The channel of one job."""
    return f"satellite:job:{job_id}"


def model_channel(model_name: str) -> str:
    """The channel of one model."""
    return f"satellite:model:{model_name}"


def result_key(job_id: UUID | str) -> str:
    """The cache key of one finished job."""
    return f"satellite:result:{job_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """A job has reached a state."""

    job_id: str
    model_name: str
    status: JobStatus
    attempt: int
    at: datetime

    @property
    def order(self) -> tuple[int, int]:
        """Rises with every event of one job, so that what arrives twice or late can be told."""
        return self.attempt, self.status.rank

    def to_dict(self) -> dict[str, Any]:
        """The wire form."""
        return {
            "job_id": self.job_id,
            "model_name": self.model_name,
            "status": self.status,
            "attempt": self.attempt,
            "at": self.at,
        }


class Subscription:
    """A bounded queue of events. Iterate over it; leave the context to end it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[JobEvent] = asyncio.Queue(MAX_UNREAD)
        self.overflowed = False

    def deliver(self, event: JobEvent) -> None:
        """Add an event, or mark the reader as too slow."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self.overflowed = True

    async def get(self, timeout_s: float | None = None) -> JobEvent | None:
        """The next event, or None when none came in time.

        Raises:
            SlowReader: events were lost because this reader is too slow.
        """
        if self.overflowed:
            raise SlowReader(
                f"more than {MAX_UNREAD} events are waiting to be read; connect again and read faster"
            )
        try:
            async with asyncio.timeout(timeout_s):
                return await self._queue.get()
        except TimeoutError:
            return None


class EventHub:
    """Publishes job events through Redis and delivers them to the watchers of this process.

    Args:
        redis_url: where Redis is.
        result_cache_s: how long a finished job stays in the cache.
    """

    def __init__(self, redis_url: str, *, result_cache_s: int) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        )
        # A subscriber waits for messages as long as it takes: no read timeout on this one.
        self._pubsub_redis: redis.Redis = redis.Redis.from_url(
            redis_url, socket_connect_timeout=REDIS_TIMEOUT_S, health_check_interval=10
        )
        self._cache_s = result_cache_s
        self._origin = uuid4().hex
        self._watchers: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._pubsub: Any = None
        self._listener: asyncio.Task[None] | None = None
        self._outbox: list[tuple[JobEvent, bytes | None]] = []
        self._sender: asyncio.Task[None] | None = None
        self.connected = False  # whether events of other ingresses arrive

    async def start(self) -> None:
        """Begin to listen. Redis may be away; it is joined when it comes."""
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Send what is waiting, stop listening and disconnect."""
        if self._sender is not None:
            await self._sender
        if self._listener is not None:
            self._listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listener
        await self._redis.aclose()
        await self._pubsub_redis.aclose()

    async def ping(self) -> None:
        """Ask Redis for a sign of life.

        Raises:
            RedisError, OSError: there was none.
        """
        await self._redis.ping()

    def publish(self, event: JobEvent, result: bytes | None = None) -> None:
        """Tell the watchers here at once, and those elsewhere through Redis.

        Args:
            event: what happened.
            result: the finished job in wire form; it is cached before anyone elsewhere is told.
        """
        self._deliver(job_channel(event.job_id), event)
        self._deliver(model_channel(event.model_name), event)
        self._outbox.append((event, result))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        """Send what has gathered in one round trip, until nothing is left."""
        try:
            while self._outbox:
                batch, self._outbox = self._outbox, []
                await self._send_batch(batch)
        finally:
            self._sender = None

    async def _send_batch(self, batch: list[tuple[JobEvent, bytes | None]]) -> None:
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for event, result in batch:
                    if result is not None and self._cache_s:
                        pipe.set(result_key(event.job_id), result, ex=self._cache_s)
                    message = orjson.dumps({"origin": self._origin, **event.to_dict()})
                    pipe.publish(job_channel(event.job_id), message)
                    pipe.publish(model_channel(event.model_name), message)
                await pipe.execute()
        except (RedisError, OSError) as error:
            # Watchers elsewhere find out from PostgreSQL, which they look at now and then.
            logger.warning("Redis does not answer.", extra={"action": "redis_away", "error": str(error)})

    async def cached_result(self, job_id: UUID) -> bytes | None:
        """A finished job in wire form, if Redis has it."""
        try:
            cached: Any = await self._redis.get(result_key(job_id))
            return cached
        except (RedisError, OSError):
            return None

    @contextlib.asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[Subscription]:
        """Watch a channel. Events published after this is entered are not missed while Redis is up."""
        subscription = Subscription()
        first = not self._watchers[channel]
        self._watchers[channel].add(subscription)
        try:
            if first:
                await self._on_pubsub("subscribe", channel)
            yield subscription
        finally:
            self._watchers[channel].discard(subscription)
            if not self._watchers[channel]:
                del self._watchers[channel]
                await self._on_pubsub("unsubscribe", channel)

    async def _on_pubsub(self, command: str, channel: str) -> None:
        if self._pubsub is not None and self.connected:
            with contextlib.suppress(RedisError, OSError):
                await getattr(self._pubsub, command)(channel)

    def _deliver(self, channel: str, event: JobEvent) -> None:
        for subscription in self._watchers.get(channel, ()):
            subscription.deliver(event)

    async def _listen(self) -> None:
        while True:
            pubsub = self._pubsub_redis.pubsub()
            try:
                # The channel of this hub alone keeps the connection subscribed to something.
                await pubsub.subscribe(f"satellite:hub:{self._origin}", *self._watchers)
                self._pubsub, self.connected = pubsub, True
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        self._receive(message["channel"].decode(), message["data"])
            except (RedisError, OSError) as error:
                logger.warning("Redis went away.", extra={"action": "redis_away", "error": str(error)})
            finally:
                self._pubsub, self.connected = None, False
                with contextlib.suppress(RedisError, OSError):
                    await pubsub.aclose()
            await asyncio.sleep(RECONNECT_S)

    def _receive(self, channel: str, data: bytes) -> None:
        fields = orjson.loads(data)
        if fields.pop("origin") == self._origin:
            return  # delivered when it was published
        fields["status"] = JobStatus(fields["status"])
        fields["at"] = datetime.fromisoformat(fields["at"])
        self._deliver(channel, JobEvent(**fields))
