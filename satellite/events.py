"""Tells everyone who watches a job what happens to it, on whichever ingress they are.

Redis only wakes, caches and fans out; without it everything still works from PostgreSQL, later and slower.

==================================  =========  ==========================================================
key or channel                      kind       holds
==================================  =========  ==========================================================
`satellite:job:{job_id}`            channel    the steps of one job
`satellite:control`                 channel    wake-ups for all ingresses: see `Wake`
`satellite:result:{tenant}:{id}`    string     a finished job in its wire form, for `result_cache_s` seconds
==================================  =========  ==========================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import orjson
import redis.asyncio as redis
from redis.exceptions import RedisError

from satellite.errors import SlowReader
from satellite.groupcommit import GroupCommit
from satellite.jobs import JobStatus, Step
from satellite.tasks import stop

logger = logging.getLogger(__name__)

# How many unread events a watcher may pile up before it is told that it reads too slowly.
MAX_UNREAD = 1000
RECONNECT_S = 0.5
REDIS_TIMEOUT_S = 2.0
CONTROL = "satellite:control"
# One command for all that has gathered: a pipeline of two commands for each job costs six times as much here.
# A key is where a result goes, or empty; to each belong a result, a channel and a message.
_PUBLISH = """
for i = 1, #KEYS do
    if KEYS[i] ~= '' then redis.call('SET', KEYS[i], ARGV[3 * i - 1], 'EX', ARGV[1]) end
    redis.call('PUBLISH', ARGV[3 * i], ARGV[3 * i + 1])
end
"""


class Wake(StrEnum):
    """What ingresses tell each other. Each one is found out without it too, a little later."""

    LOG = "log"  # the event log has grown
    WORK = "work"  # jobs wait in the database; the value is a model's name
    CANCEL = "cancel"  # whoever holds this job shall cancel it
    FORGET = "forget"  # this job was deleted
    WEBHOOK = "webhook"  # somebody wants to be told of a job, or a delivery is due
    KEYS = "keys"  # API keys were made or revoked
    DEFAULT = "default"  # another version of this model answers where none is named


def job_channel(job_id: UUID | str) -> str:
    """The channel of one job."""
    return f"satellite:job:{job_id}"


def result_key(job_id: UUID | str, tenant: str) -> str:
    """The cache key of one finished job: who asks for another tenant's finds nothing."""
    return f"satellite:result:{tenant}:{job_id}"


class Subscription:
    """A bounded queue of what happens to one job."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Step | None] = asyncio.Queue(MAX_UNREAD)
        self.overflowed = False

    def deliver(self, step: Step | None) -> None:
        """Add a step, or mark the reader as too slow. None only makes it look up."""
        try:
            self._queue.put_nowait(step)
        except asyncio.QueueFull:
            self.overflowed = True

    async def get(self, timeout_s: float | None = None) -> Step | None:
        """The next step, or None when none came in time, or it is time to look up.

        Raises:
            SlowReader: steps were lost because this reader is too slow.
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
    """Publishes the steps of jobs through Redis and delivers them to the watchers of this process.

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
        self._publish = self._redis.register_script(_PUBLISH)
        self._cache_s = result_cache_s
        self._origin = uuid4().hex
        self._watchers: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._remote: Counter[str] = Counter()  # how many of them want to hear other ingresses too
        self._lookups: GroupCommit[tuple[UUID, str], bytes | None] = GroupCommit(
            self._read_cache, max_items=64
        )
        self._on_wake: defaultdict[Wake, list[Callable[[str], object]]] = defaultdict(list)
        self._pubsub: Any = None
        self._listener: asyncio.Task[None] | None = None
        self._outbox: list[tuple[UUID, str, Step, bytes | None]] = []
        self._wakes: dict[tuple[Wake, str], None] = {}  # in order, each once
        self._sender: asyncio.Task[None] | None = None
        self.connected = False  # whether events of other ingresses arrive

    async def start(self) -> None:
        """Begin to listen. Redis may be away; it is joined when it comes."""
        self._listener = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Send what is waiting, stop listening and disconnect."""
        if self._sender is not None:
            await self._sender
        await stop(self._listener)
        await self._redis.aclose()
        await self._pubsub_redis.aclose()

    async def ping(self) -> None:
        """Ask Redis for a sign of life.

        Raises:
            RedisError, OSError: there was none.
        """
        await self._redis.ping()

    def publish(self, job_id: UUID, tenant: str, step: Step, result: bytes | None = None) -> None:
        """Tell the watchers of a job, here at once, and elsewhere through Redis.

        Args:
            job_id: the job.
            tenant: whose it is.
            step: what happened.
            result: the finished job in wire form; it is cached before anyone elsewhere is told.
        """
        self._deliver(job_channel(job_id), step)
        self._outbox.append((job_id, tenant, step, result))
        self.wake(Wake.LOG)

    def wake(self, kind: Wake, value: str = "") -> None:
        """Tell every ingress, this one included."""
        self._woken(kind, value)
        self._wakes[kind, value] = None
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())

    def on_wake(self, kind: Wake, callback: Callable[[str], object]) -> None:
        """Call `callback` too with the value of every wake-up of this kind."""
        self._on_wake[kind].append(callback)

    async def forget(self, job_id: UUID, tenant: str) -> None:
        """Drop a job from the cache."""
        with contextlib.suppress(RedisError, OSError):
            await self._redis.delete(result_key(job_id, tenant))
        self.wake(Wake.FORGET, str(job_id))

    async def _send(self) -> None:
        """Send what has gathered in one round trip, until nothing is left."""
        try:
            while self._outbox or self._wakes:
                steps, self._outbox = self._outbox, []
                wakes, self._wakes = self._wakes, {}
                await self._send_batch(steps, list(wakes))
        finally:
            self._sender = None

    async def _send_batch(
        self, steps: list[tuple[UUID, str, Step, bytes | None]], wakes: list[tuple[Wake, str]]
    ) -> None:
        keys: list[str] = []
        arguments: list[str | bytes | int] = [self._cache_s]
        for job_id, tenant, step, result in steps:
            cached = result if self._cache_s else None
            keys.append("" if cached is None else result_key(job_id, tenant))
            message = orjson.dumps([self._origin, step.attempt, step.status, step.at])
            arguments += (cached or "", job_channel(job_id), message)
        for kind, value in wakes:
            keys.append("")
            arguments += ("", CONTROL, orjson.dumps([self._origin, kind, value]))
        try:
            await self._publish(keys=keys, args=arguments)
        except (RedisError, OSError) as error:
            # Watchers elsewhere find out from PostgreSQL, which they look at now and then.
            logger.warning("Redis does not answer.", extra={"action": "redis_away", "error": str(error)})

    async def cached_result(self, job_id: UUID, tenant: str) -> bytes | None:
        """A tenant's finished job in wire form, if Redis has it."""
        try:
            return await self._lookups.submit((job_id, tenant))
        except (RedisError, OSError):
            return None

    async def _read_cache(self, jobs: Sequence[tuple[UUID, str]]) -> list[bytes | None]:
        found: list[Any] = await self._redis.mget([result_key(*job) for job in jobs])
        return found

    @contextlib.asynccontextmanager
    async def subscribe(self, job_id: UUID, *, local: bool = False) -> AsyncIterator[Subscription]:
        """Watch a job. Steps published after this is entered are not missed while Redis is up.

        Args:
            job_id: the job.
            local: hear of steps that are published here; for a job that this ingress holds these are all,
                as long as it does.
        """
        channel = job_channel(job_id)
        subscription = Subscription()
        self._watchers[channel].add(subscription)
        try:
            if not local:
                self._remote[channel] += 1
                if self._remote[channel] == 1:
                    await self._on_pubsub("subscribe", channel)
            yield subscription
        finally:
            self._watchers[channel].discard(subscription)
            if not self._watchers[channel]:
                del self._watchers[channel]
            if not local:
                self._remote[channel] -= 1
                if not self._remote[channel]:
                    del self._remote[channel]
                    await self._on_pubsub("unsubscribe", channel)

    async def _on_pubsub(self, command: str, channel: str) -> None:
        if self._pubsub is not None and self.connected:
            with contextlib.suppress(RedisError, OSError):
                await getattr(self._pubsub, command)(channel)

    def interrupt(self) -> None:
        """Make every watcher here look up: something has changed that is not a step of its job."""
        for subscriptions in self._watchers.values():
            for subscription in subscriptions:
                subscription.deliver(None)

    def _deliver(self, channel: str, step: Step) -> None:
        for subscription in self._watchers.get(channel, ()):
            subscription.deliver(step)

    async def _listen(self) -> None:
        while True:
            pubsub = self._pubsub_redis.pubsub()
            try:
                await pubsub.subscribe(CONTROL, *self._remote)
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
        origin, *fields = orjson.loads(data)
        if origin == self._origin:
            return  # delivered when it was published
        if channel == CONTROL:
            kind, value = fields
            self._woken(Wake(kind), value)
        else:
            attempt, status, at = fields
            step = Step(attempt=attempt, status=JobStatus(status), at=datetime.fromisoformat(at))
            self._deliver(channel, step)

    def _woken(self, kind: Wake, value: str) -> None:
        for callback in self._on_wake[kind]:
            callback(value)
