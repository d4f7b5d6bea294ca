"""What keys may ask for: a rate on all ingresses together, a number of open requests, a number of open jobs.

The rate is a token bucket in Redis. An ingress takes tokens from it for a tenth of a second at a time, so
that a busy key costs ten round trips a second and not one a request; while Redis is away each ingress keeps
a bucket of its own. A request is let in while there is a token, and takes what it costs, into debt if need
be: a batch larger than the bucket is not impossible, it is paid for afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass

import redis.asyncio as redis
from redis.exceptions import RedisError

from satellite.access.callers import Caller, Limits
from satellite.errors import QuotaExceeded, RateLimited
from satellite.store.keys import KeyStore

logger = logging.getLogger(__name__)

SLICE_S = 0.1
REDIS_TIMEOUT_S = 0.5
# While Redis does not answer it is asked this often.
AWAY_S = 1.0
# How often the jobs of a tenant that is at its limit are counted anew, and for how long a count is believed.
RECOUNT_S = 0.25
COUNT_VALID_S = 5.0

# KEYS: the bucket. ARGV: tokens a second, its size, how many are wanted, how many must be paid for.
# Returns how many were given, and after how many seconds there is one again. Redis's own clock.
_TAKE = """
local rate, size, wanted, owed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(state[1] or size)
tokens = math.min(size, tokens + math.max(0, now - tonumber(state[2] or now)) * rate) - owed
local given = math.max(0, math.min(wanted, math.floor(tokens)))
tokens = tokens - given
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
redis.call('EXPIRE', KEYS[1], math.ceil((size - tokens) / rate) + 1)
return {given, tostring(math.max(0, (1 - tokens) / rate))}
"""


@dataclass(slots=True)
class _Slice:
    """The tokens of one key in this ingress."""

    tokens: float = 0.0
    owed: float = 0.0  # taken beyond them, and not yet paid for in Redis
    valid_until: float = 0.0  # monotonic seconds: unused ones are not hoarded
    empty_until: float = 0.0  # before that there is none
    local_tokens: float | None = None  # the bucket of this ingress, while Redis is away
    local_at: float = 0.0


class RateLimiter:
    """Counts the requests of keys that have a rate.

    Args:
        redis_url: where the buckets are.
    """

    def __init__(self, redis_url: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        )
        self._take = self._redis.register_script(_TAKE)
        self._slices: dict[str, _Slice] = {}
        self._taking: dict[str, asyncio.Lock] = {}
        self._away_until = 0.0

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def admit(self, caller: Caller, cost: int = 1) -> None:
        """Let a request in.

        Args:
            caller: whose it is.
            cost: how many requests it stands for.

        Raises:
            RateLimited: there were as many as the key may make.
        """
        rate = caller.limits.requests_per_s
        if rate is None or caller.key_id is None:
            return
        key_id = caller.key_id
        slice_ = self._slices.setdefault(key_id, _Slice())
        if not self._has_token(slice_):
            async with self._taking.setdefault(key_id, asyncio.Lock()):
                if not self._has_token(slice_) and time.monotonic() >= slice_.empty_until:
                    await self._refill(key_id, slice_, caller.limits, cost)
            if not self._has_token(slice_):
                wait_s = max(slice_.empty_until - time.monotonic(), 0.0)
                raise RateLimited(
                    f"this key may make {rate:g} requests per second; the next one in {wait_s:.1f} s",
                    retry_after_s=max(1, math.ceil(wait_s)),
                )
        paid = min(slice_.tokens, cost)
        slice_.tokens -= paid
        slice_.owed += cost - paid

    def _has_token(self, slice_: _Slice) -> bool:
        return slice_.tokens >= 1 and time.monotonic() < slice_.valid_until and not slice_.owed

    async def _refill(self, key_id: str, slice_: _Slice, limits: Limits, cost: int) -> None:
        assert limits.requests_per_s is not None
        rate = limits.requests_per_s
        size = float(limits.burst or max(1, math.ceil(rate)))
        wanted = max(1, math.ceil(rate * SLICE_S), min(cost, int(size)))
        now = time.monotonic()
        if now >= self._away_until:
            try:
                keys, arguments = [f"satellite:rate:{key_id}"], [rate, size, wanted, slice_.owed]
                given, wait_s = await self._take(keys=keys, args=arguments)
                slice_.local_tokens = None
                self._fill(slice_, int(given), float(wait_s))
                return
            except (RedisError, OSError) as error:
                logger.warning("Redis does not answer.", extra={"action": "redis_away", "error": str(error)})
                self._away_until = time.monotonic() + AWAY_S
        tokens = size if slice_.local_tokens is None else slice_.local_tokens
        tokens = min(size, tokens + (now - slice_.local_at) * rate if slice_.local_at else size) - slice_.owed
        given = max(0, min(wanted, math.floor(tokens)))
        slice_.local_tokens, slice_.local_at = tokens - given, now
        self._fill(slice_, given, max(0.0, (1 - slice_.local_tokens) / rate))

    def _fill(self, slice_: _Slice, given: int, wait_s: float) -> None:
        now = time.monotonic()
        slice_.tokens, slice_.owed = float(given), 0.0
        slice_.valid_until = now + 1.0
        slice_.empty_until = 0.0 if given else now + wait_s


class Concurrency:
    """Counts the open requests and sockets of keys that may have so many."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextlib.contextmanager
    def admit(self, caller: Caller) -> Generator[None]:
        """Count one while it lasts.

        Raises:
            RateLimited: there are as many as the key may have.
        """
        most, key_id = caller.limits.max_concurrent, caller.key_id
        if most is None or key_id is None:
            yield
            return
        if self._open[key_id] >= most:
            raise RateLimited(
                f"this key may have {most} requests and sockets open at a time", retry_after_s=1
            )
        self._open[key_id] += 1
        try:
            yield
        finally:
            self._open[key_id] -= 1
            if not self._open[key_id]:
                del self._open[key_id]


@dataclass(slots=True)
class _Count:
    jobs: int
    at: float  # monotonic seconds


class Quota:
    """Counts the open jobs of tenants whose keys may have so many.

    A count is taken from PostgreSQL now and then; what this ingress accepts meanwhile is added. Several
    ingresses may together go beyond a limit by what they accept within five seconds.

    Args:
        store: where jobs are counted.
    """

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._counts: dict[str, _Count] = {}
        self._counting: dict[str, asyncio.Lock] = {}

    async def admit(self, caller: Caller, jobs: int = 1) -> None:
        """Let jobs in.

        Raises:
            QuotaExceeded: the tenant has as many that have not ended as the key may have.
            StoreUnavailable: they cannot be counted now.
        """
        most = caller.limits.max_queued
        if most is None:
            return
        tenant = caller.tenant
        if not self._fits(tenant, most, jobs, valid_s=COUNT_VALID_S):
            async with self._counting.setdefault(tenant, asyncio.Lock()):
                if not self._fits(tenant, most, jobs, valid_s=RECOUNT_S):
                    found = await self._store.open_jobs_of([tenant], [most + 1])
                    self._counts[tenant] = _Count(found[tenant], time.monotonic())
            if not self._fits(tenant, most, jobs, valid_s=COUNT_VALID_S):
                raise QuotaExceeded(
                    f"'{tenant}' has {self._counts[tenant].jobs} jobs that have not ended, and with this key "
                    f"it may have {most}; send {'it' if jobs == 1 else 'them'} again later",
                    retry_after_s=1,
                )
        self._counts[tenant].jobs += jobs

    def _fits(self, tenant: str, most: int, jobs: int, *, valid_s: float) -> bool:
        count = self._counts.get(tenant)
        return count is not None and time.monotonic() - count.at <= valid_s and count.jobs + jobs <= most
