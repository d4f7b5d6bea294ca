"""What there is to say of webhooks, one class per thing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from satellite.jobs import JobStatus

TEST_EVENT = "webhook.test"
EVENTS = tuple(f"job.{status}" for status in JobStatus)
# What is sent unless a caller says otherwise: that a job has ended, however it did.
DEFAULT_EVENTS = tuple(f"job.{status}" for status in JobStatus if status.is_terminal)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWebhook:
    """Whom to tell of one job."""

    url: str
    events: tuple[str, ...] = DEFAULT_EVENTS
    host: str = ""  # `Receiver.key`, once the URL has been checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Whom a tenant wants to be told of its jobs."""

    id: UUID
    tenant: str
    url: str
    host: str
    events: tuple[str, ...]
    model_name: str | None  # None: of all models
    enabled: bool
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one receiver, and what became of it. `attempts`: `Tried.to_json` of each try."""

    id: UUID
    endpoint_id: UUID | None  # None: the job brought its own URL
    url: str | None
    event: str
    at: datetime
    job_id: UUID | None
    model_name: str | None
    status: str  # pending, delivered or failed
    tries: int
    next_at: datetime
    created_at: datetime
    finished_at: datetime | None
    attempts: list[dict[str, Any]]

    @property
    def message_id(self) -> str:
        """Its `webhook-id`, the same for every try: receivers know by it what they have had before."""
        return f"msg_{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that is to be tried now, by whoever holds `claim`."""

    id: UUID
    claim: UUID
    tenant: str
    endpoint_id: UUID | None
    url: str | None
    host: str
    event: str
    at: datetime
    job_id: UUID | None
    model_name: str | None
    attempt: int | None  # of the job
    tries: int  # this one included

    @property
    def message_id(self) -> str:
        """Its `webhook-id`, the same for every try: receivers know by it what they have had before."""
        return f"msg_{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a delivery goes, and what signs it."""

    url: str
    enabled: bool
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of one try.

    Attributes:
        status_code: what the receiver has answered; None: nothing.
        error: why it does not count as taken, in words; None: it was taken.
        retry_after_s: how long the receiver asks to be left alone.
        is_final: another try would be in vain.
    """

    at: datetime
    duration_s: float
    status_code: int | None = None
    error: str | None = None
    retry_after_s: float | None = None
    is_final: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it is stored and shown."""
        return {
            "at": self.at,
            "status_code": self.status_code,
            "error": self.error,
            "duration_s": round(self.duration_s, 3),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TryEnd:
    """A try on its way into the database."""

    id: UUID
    claim: UUID
    tried: Tried
    status: str  # of the delivery from now on
    delay_s: float  # until the next try, of one that is pending
