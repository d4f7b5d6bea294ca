"""API keys and the audit log in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from satellite.access.audit import AuditEntry
from satellite.access.callers import Limits, Scope
from satellite.access.keys import ApiKey
from satellite.store import queries
from satellite.store.connection import Connections


class KeyStore:
    """Keys, for those who make them and those who check them. Part of `Store`; the CLI opens it alone."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def add(self, key: ApiKey, audit: AuditEntry, *, replaces: str | None, overlap_s: float) -> None:
        """Store a key, with its line in the audit log; the one that it replaces ends after `overlap_s`."""
        limits = key.limits
        await self._fetch(
            queries.ADD_KEY,
            key.id,
            key.tenant,
            key.name,
            list(key.scopes),
            key.digest,
            key.expires_at,
            limits.requests_per_s,
            limits.burst,
            limits.max_concurrent,
            limits.max_queued,
            replaces,
            overlap_s,
            *_values(audit),
        )

    async def revoke(self, key_id: str, audit: AuditEntry) -> bool:
        """End a key at once. Returns False if there is none that could be ended."""
        return bool(await self._fetch(queries.REVOKE_KEY, key_id, *_values(audit)))

    async def list(self, tenant: str | None = None) -> list[ApiKey]:
        """All keys, or those of a tenant, oldest first."""
        return [_key(row) for row in await self._fetch(queries.LIST_KEYS, tenant, None)]

    async def get(self, key_id: str) -> ApiKey | None:
        """One key."""
        rows = await self._fetch(queries.LIST_KEYS, None, key_id)
        return _key(rows[0]) if rows else None

    async def changed_since(self, moment: datetime | None) -> tuple[list[ApiKey], datetime]:
        """Keys that were made or ended since a moment (None: all), and the database's time."""
        rows = await self._fetch(queries.CHANGED_KEYS, moment)
        return [_key(row) for row in rows if row["id"] is not None], rows[0]["now"]

    async def used(self, moments: Mapping[str, datetime]) -> None:
        """Record when keys were last used."""
        await self._fetch(queries.USED_KEYS, list(moments), list(moments.values()))

    async def audit(self, entry: AuditEntry) -> None:
        """Add a line to the audit log."""
        await self._fetch(queries.ADD_AUDIT, *_values(entry))

    async def audited(self, *, tenant: str | None, limit: int) -> list[AuditEntry]:
        """The newest lines of the audit log, newest first."""
        return [
            AuditEntry(
                at=row["at"],
                actor=row["actor"],
                tenant=row["tenant"],
                action=row["action"],
                target=row["target"],
                request_id=row["request_id"],
                details=orjson.loads(row["details"]),
            )
            for row in await self._fetch(queries.LIST_AUDIT, tenant, limit)
        ]

    async def open_jobs_of(self, tenants: Sequence[str], limits: Sequence[int]) -> dict[str, int]:
        """How many jobs of each tenant have not ended; counted no further than its limit."""
        rows = await self._fetch(queries.OPEN_JOBS_OF, list(tenants), list(limits))
        return {row["tenant"]: row["count"] for row in rows}

    async def _fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        return await self._connections.run(lambda: self._connections.pool.fetch(query, *arguments))


def _values(entry: AuditEntry) -> tuple[Any, ...]:
    details = orjson.dumps(entry.details).decode()
    return entry.actor, entry.tenant, entry.action, entry.target, entry.request_id, details


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        id=row["id"],
        tenant=row["tenant"],
        name=row["name"],
        scopes=tuple(Scope(name) for name in row["scopes"]),
        digest=row["digest"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        limits=Limits(
            requests_per_s=row["requests_per_s"],
            burst=row["burst"],
            max_concurrent=row["max_concurrent"],
            max_queued=row["max_queued"],
        ),
    )
