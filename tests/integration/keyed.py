"""An ingress with API keys on, and keys for it."""

import contextlib

from satellite.access.callers import Limits, Scope
from satellite.access.issuing import Issuer

from .conftest import serve

KEY_SECRET = "k" * 40
EVERYTHING = tuple(Scope)


@contextlib.asynccontextmanager
async def serve_keyed(database_url, redis_url, **settings):
    """As `serve`, with keys on; `node.key(...)` makes one."""
    async with serve(database_url, redis_url, keys=True, key_secret=KEY_SECRET, **settings) as node:
        node.issuer = Issuer(node.service.store.keys, KEY_SECRET.encode())

        async def key(tenant="default", *scopes, expires_at=None, **limits):
            _, text = await node.issuer.create(
                tenant=tenant,
                name=f"a key of {tenant}",
                scopes=scopes or (Scope.READ, Scope.SUBMIT),
                expires_at=expires_at,
                limits=Limits(**limits),
            )
            return text

        node.key = key
        yield node


def bearer(key):
    """The header."""
    return {"Authorization": f"Bearer {key}"}
