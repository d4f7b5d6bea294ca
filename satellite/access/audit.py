"""The audit log: who has done what touches all tenants, or the keys.

Every line is in PostgreSQL, written before or with what it is about, and in the log (`action: audit`).
"""

from __future__ import annotations

import getpass
import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from satellite.access.callers import Caller
from satellite.jobs import storable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line.

    Attributes:
        action: what was done, such as `key.revoke`.
        target: what it was done to.
        actor: the id of a key, or `cli:USER` for who works on the machine itself.
        tenant: whose key, or whose key it is about.
        request_id: of the call.
        details: further facts, none of them secret.
        at: when, by the database's clock; None until it is stored.
    """

    action: str
    target: str
    actor: str
    tenant: str | None = None
    request_id: str | None = None
    details: dict[str, Any] = field(default_factory=dict[str, Any])
    at: datetime | None = None

    def log(self) -> None:
        """Say it in the log as well."""
        logger.info(
            "%s %s",
            self.action,
            self.target,
            extra={
                "action": "audit",
                "audit": self.action,
                "target": self.target,
                "actor": self.actor,
                "tenant": self.tenant,
                "request_id": self.request_id,
            },
        )


def by_caller(
    caller: Caller, action: str, target: str, *, request_id: str | None, **details: Any
) -> AuditEntry:
    """A line about a call."""
    return AuditEntry(
        action=action,
        target=storable(target),  # part of it may be what the caller wrote
        actor=caller.key_id or "keys-off",
        tenant=caller.tenant,
        request_id=request_id,
        details=details,
    )


def by_user(action: str, target: str, *, tenant: str | None, **details: Any) -> AuditEntry:
    """A line about a command on this machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return AuditEntry(action=action, target=target, actor=f"cli:{user}", tenant=tenant, details=details)
