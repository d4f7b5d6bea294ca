"""API keys: 256 random bits with a public id before them, stored as an HMAC only.

A key is shown once, when it is made: `sat_<id>_<secret>`. What is stored is HMAC-SHA-256 of the whole text
under a secret of the system's own, so that whoever reads the database, or a backup of it, can neither use the
keys nor make one. A password hash would add nothing: nobody can guess 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from satellite.access.callers import Caller, Limits, Scope
from satellite.errors import InvalidRequest

PREFIX = "sat"
SECRET_BYTES = 32
MIN_KEY_SECRET = 32
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # read aloud and copied from a screen: no l, o, 0, 1
_ID_LENGTH = 12
_TEXT = re.compile(rf"{PREFIX}_(?P<id>[{_ALPHABET}]{{{_ID_LENGTH}}})_[A-Za-z0-9_-]{{43}}")
# A tenant's name is part of keys in Redis, and stands in logs.
_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
MAX_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is stored."""

    id: str
    tenant: str
    name: str
    scopes: tuple[Scope, ...]
    digest: bytes  # HMAC-SHA-256 of its text
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None  # to the minute
    limits: Limits

    @property
    def state(self) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and datetime.now(UTC) >= self.expires_at else "active"

    def caller(self) -> Caller:
        """Who comes with this key."""
        return Caller(
            tenant=self.tenant,
            scopes=frozenset(self.scopes),
            key_id=self.id,
            key_name=self.name,
            expires_at=self.expires_at,
            limits=self.limits,
        )


def new_key(key_secret: bytes) -> tuple[str, str, bytes]:
    """Make a key.

    Args:
        key_secret: the system's own.

    Returns:
        Its id, its text, and the digest to store.
    """
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
    text = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return key_id, text, digest_of(text, key_secret)


def digest_of(text: str, key_secret: bytes) -> bytes:
    """What is stored of a key."""
    return hmac.digest(key_secret, text.encode(), hashlib.sha256)


def id_of(text: str) -> str | None:
    """The id in a key's text; None if it is not the text of a key."""
    match = _TEXT.fullmatch(text)
    return None if match is None else match["id"]


def check_tenant(name: str) -> str:
    """A tenant's name as it may be.

    Raises:
        InvalidRequest: it is not one.
    """
    if not _TENANT.fullmatch(name):
        raise InvalidRequest(
            f"{name[:80]!r} is no name for a tenant: 1 to 63 of a-z, 0-9, - and _, a letter or digit at both "
            "ends"
        )
    return name


def check_key(
    *, tenant: str, name: str, scopes: Sequence[Scope], expires_at: datetime | None, limits: Limits
) -> None:
    """Check what a key shall be.

    Raises:
        InvalidRequest: it cannot be that.
    """
    check_tenant(tenant)
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidRequest(f"a key needs a name of 1 to {MAX_NAME} characters, to be told from others")
    if not scopes:
        raise InvalidRequest(f"a key needs a scope: {', '.join(Scope)}")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequest(f"{expires_at.isoformat()} has passed: the key would never work")
    for limit, value in (
        ("requests per second", limits.requests_per_s),
        ("burst", limits.burst),
        ("concurrent requests", limits.max_concurrent),
        ("queued jobs", limits.max_queued),
    ):
        if value is not None and not 0 < value < 1e9:
            raise InvalidRequest(f"{limit}: must be more than 0")
    if limits.burst is not None and limits.requests_per_s is None:
        raise InvalidRequest("burst: goes with a number of requests per second")
