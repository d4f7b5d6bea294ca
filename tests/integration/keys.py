"""An ingress that asks for keys, and keys for it."""

import asyncio
import contextlib
from datetime import UTC, datetime

from satellite.access.audit import by_user
from satellite.access.callers import UNLIMITED, Scope
from satellite.access.keys import ApiKey, new_key
from satellite.errors import Unauthenticated

from .conftest import serve

KEY_SECRET = "k" * 32
EVERYTHING = tuple(Scope)


@contextlib.asynccontextmanager
async def serve_with_keys(database_url, redis_url, **settings):
    async with serve(database_url, redis_url, keys=True, key_secret=KEY_SECRET, **settings) as node:
        yield node


async def make_key(
    node, *, scopes=EVERYTHING, tenant="acme", name="a test", expires_at=None, limits=UNLIMITED
):
    """A key that the ingress knows; its text."""
    key_id, text, digest = new_key(KEY_SECRET.encode())
    key = ApiKey(
        id=key_id,
        tenant=tenant,
        name=name,
        scopes=tuple(scopes),
        digest=digest,
        created_at=datetime.now(UTC),
        expires_at=expires_at,
        revoked_at=None,
        last_used_at=None,
        limits=limits,
    )
    audit = by_user("key.create", key_id, tenant=tenant)
    await node.service.store.keys.add(key, audit, replaces=None, overlap_s=0)
    # Nothing tells the ingress of it here, and it does not look for every key that it does not know.
    while True:
        with contextlib.suppress(Unauthenticated):
            await node.context.access.key(text)
            return text
        await asyncio.sleep(0.05)


async def revoke(node, text):
    """End a key at once."""
    key_id = text.split("_")[1]
    assert await node.service.store.keys.revoke(key_id, by_user("key.revoke", key_id, tenant=None))
