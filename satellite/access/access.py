"""What an ingress asks before it lets a call in."""

from __future__ import annotations

from urllib.parse import parse_qs

from satellite.access.audit import by_caller
from satellite.access.callers import OPERATOR, Caller
from satellite.access.keyring import Keyring
from satellite.access.limits import Concurrency, RateLimiter
from satellite.access.tickets import Tickets
from satellite.errors import Unauthenticated, Unavailable
from satellite.events import EventHub, Wake
from satellite.settings import Settings
from satellite.store.keys import KeyStore

NO_KEY = "this needs an API key: send `Authorization: Bearer sat_...` (`satellite keys create` makes one)"


class Access:
    """Who comes in, and how often.

    Args:
        store: where keys and the audit log are.
        events: tells of changes of keys.
        settings: whether keys are on, and what they are hashed with.

    Attributes:
        keys_on: whether calls need a key.
    """

    def __init__(self, store: KeyStore, events: EventHub, settings: Settings) -> None:
        self._store = store
        self._ring: Keyring | None = None
        self._tickets: Tickets | None = None
        self.concurrency = Concurrency()
        self.keys_on = settings.keys
        if not settings.keys:
            return
        assert settings.key_secret is not None and settings.redis_url is not None  # see `check_key_secret`
        key_secret = settings.key_secret.get_secret_value().encode()
        self._ring = Keyring(store, key_secret)
        self._tickets = Tickets(key_secret, settings.redis_url)
        self._rates = RateLimiter(settings.redis_url)
        events.on_wake(Wake.KEYS, self._ring.wake)

    async def start(self) -> None:
        """Read the keys."""
        if self._ring is not None:
            await self._ring.start()

    async def close(self) -> None:
        """Record when keys were last used, and disconnect."""
        if self._ring is not None and self._tickets is not None:
            await self._ring.close()
            await self._tickets.close()
            await self._rates.close()

    async def bearer(self, authorization: str) -> Caller:
        """Who sends this header.

        Raises:
            Unauthenticated: nobody who may come in.
            StoreUnavailable: the key is not known here, and cannot be looked up now.
        """
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated(NO_KEY)
        return await self.key(text.strip())

    async def key(self, text: str) -> Caller:
        """Who comes with a key; see `bearer`."""
        return OPERATOR if self._ring is None else await self._ring.authenticate(text)

    async def ticket(self, query: bytes) -> Caller | None:
        """Who comes with the ticket in a query string; None if there is none in it.

        Raises:
            Unauthenticated: it is not valid, or not any more.
        """
        if self._ring is None or self._tickets is None or b"ticket=" not in query:
            return None
        given = parse_qs(query.decode("latin-1")).get("ticket")
        if given is None:
            return None
        key_id = await self._tickets.take(given[-1])
        caller = None if key_id is None else self._ring.current(key_id)
        if caller is None:
            raise Unauthenticated("this ticket is not valid any more: each is for one use, within 30 s")
        return caller

    def make_ticket(self, caller: Caller) -> tuple[str, float]:
        """A ticket for a caller, and when it ends, in seconds since the epoch.

        Raises:
            Unavailable: there are none while keys are off.
        """
        if self._tickets is None or caller.key_id is None:
            raise Unavailable("keys are off: nothing needs a ticket")
        return self._tickets.make(caller.key_id)

    async def charge(self, caller: Caller, cost: int = 1) -> None:
        """Count requests of a caller.

        Raises:
            RateLimited: there were as many as its key may make.
        """
        if caller.limits.requests_per_s is not None and cost:
            await self._rates.admit(caller, cost)

    async def ended(self, caller: Caller) -> None:
        """Return once the caller's key is no longer valid."""
        if self._ring is not None:
            await self._ring.ended(caller)

    async def audit(
        self, caller: Caller, action: str, target: str, *, request_id: str | None, **details: object
    ) -> None:
        """Put into the audit log what a caller is about to do.

        Raises:
            StoreUnavailable: it cannot be written, so it must not be done.
        """
        entry = by_caller(caller, action, target, request_id=request_id, **details)
        await self._store.audit(entry)
        entry.log()
