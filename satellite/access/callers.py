"""Who calls: a tenant, through one of its keys, with scopes and limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from satellite.jobs import DEFAULT_TENANT


class Scope(StrEnum):
    """What a key is for."""

    READ = "read"  # look at the tenant's jobs and at the models
    SUBMIT = "submit"  # submit and predict; cancel, repeat and delete the tenant's jobs
    ADMIN = "admin"  # what touches all tenants: the versions of models, the machines of the cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a key may ask for at most; None: as much as it likes."""

    requests_per_s: float | None = None  # on all ingresses together; each job of a batch counts
    burst: int | None = None  # so many at once, after a pause; None: those of one second
    max_concurrent: int | None = None  # open requests and sockets, on each ingress
    max_queued: int | None = None  # jobs of its tenant that have not ended


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever makes a call.

    Attributes:
        tenant: whose jobs it sees and makes.
        scopes: what it may do.
        key_id: of the key it came with; None: keys are off, or the call comes from within the cluster.
        key_name: what its owner calls that key.
        expires_at: when the key ends.
        limits: of the key.
    """

    tenant: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    key_name: str | None = None
    expires_at: datetime | None = None
    limits: Limits = UNLIMITED

    def has_expired(self) -> bool:
        """Whether its key has come to its end."""
        return self.expires_at is not None and datetime.now(UTC) >= self.expires_at


def operator(tenant: str = DEFAULT_TENANT) -> Caller:
    """Who may do everything, for a tenant: everybody while keys are off, and whoever holds a Serve handle."""
    return Caller(tenant=tenant, scopes=frozenset(Scope))


OPERATOR = operator()
