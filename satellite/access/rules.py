"""Which calls need which key: one function, so that a route that nobody has thought of is closed.

=====================================  =============================================================
call                                   needs
=====================================  =============================================================
the page, its files, `/docs`,          nothing
`/health*`, `/v2/health/*`
`GET` and `HEAD` of anything else      `read`
changes of webhooks                    `read` and `submit`: they show what jobs have come to
changes of versions of models          `admin`: they are all tenants'
anything else                          `submit`
=====================================  =============================================================
"""

from __future__ import annotations

from collections.abc import Collection

from satellite.access.callers import Scope

_OPEN_FOLDERS = ("/assets/", "/static-offline-docs/", "/docs/", "/health/", "/v2/health/")
_LOOKING = ("GET", "HEAD", "OPTIONS")

_NONE: frozenset[Scope] = frozenset()
_READ = frozenset({Scope.READ})
_SUBMIT = frozenset({Scope.SUBMIT})
_BOTH = frozenset({Scope.READ, Scope.SUBMIT})
_ADMIN = frozenset({Scope.ADMIN})
# Questions that are asked by POST.
_ASKING = ("/v2/repository/index",)
# For whoever has a key at all.
_ANY_KEY = ("/api/v1/me", "/api/v1/tickets")


def is_open(method: str, path: str) -> bool:
    """Whether a call needs no key.

    Args:
        method: of the request.
        path: below the application's own prefix.
    """
    if method not in _LOOKING:
        return False
    # What lies at the top is the page's, `/health`, `/docs` and `/openapi.json`.
    return (path.count("/") == 1 and path != "/v2") or path.startswith(_OPEN_FOLDERS)


def needed_scopes(method: str, path: str) -> frozenset[Scope]:
    """All the scopes that a call needs, if it is not open."""
    if path in _ANY_KEY:
        return _NONE
    if method in _LOOKING or path in _ASKING:
        return _READ
    if path.startswith("/api/v1/models"):
        return _ADMIN
    if path.startswith("/api/v1/webhooks"):
        return _BOTH
    return _SUBMIT


def said(scopes: Collection[Scope]) -> str:
    """Scopes as people read them."""
    return " and ".join(f"`{scope}`" for scope in Scope if scope in scopes)
