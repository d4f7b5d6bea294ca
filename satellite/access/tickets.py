"""Tickets: what a browser can put into an address, where it cannot send a header.

A WebSocket and an EventSource of a browser carry no headers of the page's own, and an address ends up in logs
and histories: no place for a key. A ticket stands for its key for half a minute, and once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
import time
from collections import OrderedDict

import redis.asyncio as redis
from redis.exceptions import RedisError

VALID_S = 30
REDIS_TIMEOUT_S = 0.5
_MAC_BYTES = 16
_HEAD = struct.Struct(">Q16s")  # when it ends, in milliseconds since the epoch; random bytes
MAX_REMEMBERED = 100_000


class Tickets:
    """Makes tickets, and takes each one once.

    Any ingress takes what any has made: a ticket carries what it is for, signed. That it was used is
    remembered in Redis; while Redis is away, by each ingress for itself.

    Args:
        key_secret: the system's own.
        redis_url: where used ones are remembered.
    """

    def __init__(self, key_secret: bytes, redis_url: str) -> None:
        self._secret = hmac.digest(key_secret, b"tickets", hashlib.sha256)
        self._redis: redis.Redis = redis.Redis.from_url(
            redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        )
        self._used: OrderedDict[bytes, None] = OrderedDict()

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    def make(self, key_id: str) -> tuple[str, float]:
        """A ticket for a key, and when it ends, in seconds since the epoch."""
        ends_at_s = time.time() + VALID_S
        head = _HEAD.pack(int(ends_at_s * 1000), secrets.token_bytes(16)) + key_id.encode()
        return base64.urlsafe_b64encode(self._mac(head) + head).rstrip(b"=").decode(), ends_at_s

    async def take(self, ticket: str) -> str | None:
        """The id of the key that a ticket stands for; None if it is none, has ended, or was used before."""
        try:
            raw = base64.urlsafe_b64decode(ticket.encode("ascii") + b"=" * (-len(ticket) % 4))
            mac, head = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
            ends_at_ms, _ = _HEAD.unpack_from(head)
            key_id = head[_HEAD.size :].decode("ascii")
        except (ValueError, struct.error):
            return None
        if not hmac.compare_digest(mac, self._mac(head)) or time.time() * 1000 > ends_at_ms:
            return None
        return key_id if await self._first_use(mac) else None

    async def _first_use(self, mac: bytes) -> bool:
        if mac in self._used:
            return False
        self._used[mac] = None
        while len(self._used) > MAX_REMEMBERED:
            self._used.popitem(last=False)
        try:
            return bool(await self._redis.set(f"satellite:ticket:{mac.hex()}", "", ex=VALID_S + 1, nx=True))
        except (RedisError, OSError):
            return True

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._secret, head, hashlib.sha256)[:_MAC_BYTES]
