"""The connection pool, and what is made of a PostgreSQL that is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from satellite.errors import StoreUnavailable

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 2
CONNECT_TIMEOUT_S = 3
# A statement that takes longer than this is as good as a database that is away.
COMMAND_TIMEOUT_S = 10
# How often an absent database is asked whether it is back.
PROBE_S = 0.25
# What asyncpg raises when the server is away, shutting down or has ended the connection.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that was ended while it was being taken from the pool
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
)

R = TypeVar("R")


class Connections:
    """A pool that knows whether the database is there.

    While it is away calls are refused at once, instead of each one waiting for its own time-out; one probe
    finds out when it is back.

    Attributes:
        up: whether the database answered when it was last asked.
        on_change: called with `up` whenever it changes.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.up = True
        self.on_change: Callable[[bool], None] = lambda up: None
        self._probe: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, database_url: str, *, pool_size: int) -> Connections:
        """Connect.

        Raises:
            StoreUnavailable: no PostgreSQL answers at this URL.
        """
        try:
            pool = await asyncpg.create_pool(
                database_url,
                min_size=2,
                max_size=pool_size,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings={"application_name": "satellite"},
                reset=_keep,
            )
        except AWAY as error:
            raise _unavailable(error) from error
        return cls(pool)

    async def close(self) -> None:
        """Disconnect."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
        await self.pool.close()

    async def run(self, call: Callable[[], Awaitable[R]]) -> R:
        """Make a call that may be made again, if it fails on a connection that was broken.

        After a restart of PostgreSQL the pool still holds such connections.

        Raises:
            StoreUnavailable: the database is away. Whether it took the call is not known.
        """
        if not self.up:
            raise _unavailable("it has been away")
        tries_left = self.pool.get_max_size()
        while True:
            try:
                return await call()
            except TimeoutError as error:
                raise self._went_away(error) from error
            except asyncpg.TransactionRollbackError:
                if not tries_left:  # a deadlock, say, of which it was the victim
                    raise
                tries_left -= 1
            except AWAY as error:
                if not tries_left:
                    raise self._went_away(error) from error
                tries_left -= 1

    def _went_away(self, error: Exception) -> StoreUnavailable:
        if self.up and not self._closed:
            logger.warning(
                "PostgreSQL does not answer.", extra={"action": "store_unavailable", "error": str(error)}
            )
            self._set(up=False)
            self._probe = asyncio.create_task(self._find())
        return _unavailable(f"{type(error).__name__}: {error}")

    async def _find(self) -> None:
        while True:
            try:
                await self.pool.fetchval("SELECT 1", timeout=CONNECT_TIMEOUT_S)
                break
            except AWAY:
                await asyncio.sleep(PROBE_S)
        logger.warning("PostgreSQL is back.", extra={"action": "store_available"})
        self._set(up=True)

    def _set(self, *, up: bool) -> None:
        if self.up is not up:
            self.up = up
            self.on_change(up)


def _unavailable(why: object) -> StoreUnavailable:
    return StoreUnavailable(
        f"PostgreSQL does not answer ({why}): the request was not accepted. Send it again shortly.",
        retry_after_s=RETRY_AFTER_S,
    )


async def _keep(_connection: Any) -> None:
    """Nothing set here outlives its transaction. asyncpg's own reset is a round trip per statement."""
