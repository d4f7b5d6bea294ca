"""Making, ending and replacing keys: each with its line in the audit log, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from satellite.access.audit import by_user
from satellite.access.callers import Limits, Scope
from satellite.access.keys import ApiKey, check_key, id_of, new_key
from satellite.errors import Conflict, NotFound
from satellite.store.keys import KeyStore


class Issuer:
    """Keys, as the person at the terminal makes them.

    Args:
        store: where they go.
        key_secret: what they are hashed with.
    """

    def __init__(self, store: KeyStore, key_secret: bytes) -> None:
        self._store = store
        self._key_secret = key_secret

    async def create(
        self,
        *,
        tenant: str,
        name: str,
        scopes: Sequence[Scope],
        expires_at: datetime | None,
        limits: Limits,
    ) -> tuple[ApiKey, str]:
        """Make a key.

        Returns:
            It, and its text, which nothing can show again.

        Raises:
            InvalidRequest: there can be no such key.
        """
        check_key(tenant=tenant, name=name, scopes=scopes, expires_at=expires_at, limits=limits)
        key_id, text, digest = new_key(self._key_secret)
        key = ApiKey(
            id=key_id,
            tenant=tenant,
            name=name,
            scopes=tuple(scope for scope in Scope if scope in scopes),
            digest=digest,
            created_at=datetime.now(UTC),
            expires_at=expires_at,
            revoked_at=None,
            last_used_at=None,
            limits=limits,
        )
        audit = by_user("key.create", key_id, tenant=tenant, name=name, scopes=list(key.scopes))
        await self._store.add(key, audit, replaces=None, overlap_s=0)
        return key, text

    async def revoke(self, given: str) -> ApiKey:
        """End a key at once.

        Args:
            given: its id, or its text.

        Raises:
            NotFound: there is no such key.
            Conflict: it has been revoked already.
        """
        key = await self._find(given)
        if not await self._store.revoke(key.id, by_user("key.revoke", key.id, tenant=key.tenant)):
            raise Conflict(f"key {key.id} was revoked before")
        return key

    async def rotate(self, given: str, *, overlap_s: float) -> tuple[ApiKey, str]:
        """Make a key like another one, which ends after `overlap_s`.

        Args:
            given: the id of that one, or its text.
            overlap_s: for how long both work, so that callers can change over.

        Returns:
            The new key, valid for as long as the old one was made for, and its text.

        Raises:
            NotFound: there is no such key.
            Conflict: it does not work any more.
        """
        old = await self._find(given)
        if old.state != "active":
            raise Conflict(f"key {old.id} is {old.state}; create a new one")
        key_id, text, digest = new_key(self._key_secret)
        now = datetime.now(UTC)
        lifetime = old.expires_at and old.expires_at - old.created_at
        key = replace(
            old,
            id=key_id,
            digest=digest,
            created_at=now,
            expires_at=lifetime and now + lifetime,
            last_used_at=None,
        )
        audit = by_user("key.rotate", old.id, tenant=old.tenant, new_key=key_id, overlap_s=overlap_s)
        await self._store.add(key, audit, replaces=old.id, overlap_s=overlap_s)
        return key, text

    async def _find(self, given: str) -> ApiKey:
        key_id = id_of(given) or given.removeprefix("sat_")
        key = await self._store.get(key_id)
        if key is None:
            raise NotFound(f"there is no key {key_id[:40]}; see `satellite keys list`")
        return key
