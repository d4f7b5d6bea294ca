"""What a caller asks for when it submits a job."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from satellite.jobs import DEFAULT_PRIORITY, Job
from satellite.store import IdempotencyKey
from satellite.webhooks.records import JobWebhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request for a job. `data` and `config` are checked by the model's own schema later."""

    model_name: str
    data: Any
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    model_version: str | None = None  # None: the default, as it is when the job is accepted
    priority: int = DEFAULT_PRIORITY
    deadline_s: float | None = None  # counted from now on
    run_at: datetime | None = None
    labels: tuple[str, ...] = ()  # "key=value", sorted
    max_attempts: int | None = None  # None: what the model's config says
    parent_id: UUID | None = None
    webhook: JobWebhook | None = None  # whom to tell of this job, beside the tenant's endpoints
    idempotency_key: str | None = None
    flush: bool = False  # do not wait for a batch to fill

    def flushed(self) -> Submission:
        """The same, but without waiting for a batch to fill."""
        return replace(self, flush=True)

    @property
    def idempotency(self) -> IdempotencyKey | None:
        """The caller's key, with a digest of everything else it asks for."""
        if self.idempotency_key is None:
            return None
        asked = (
            self.model_name,
            self.data,
            self.config,
            self.priority,
            self.deadline_s,
            self.run_at,
            self.labels,
            self.max_attempts,
            None if self.parent_id is None else str(self.parent_id),  # asyncpg's UUIDs are no JSON
        )
        if self.model_version is not None:  # keys of before there were versions stay valid
            asked = (*asked, self.model_version)
        if self.webhook is not None:
            asked = (*asked, {"url": self.webhook.url, "events": self.webhook.events})
        digest = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()
        return IdempotencyKey(key=self.idempotency_key, digest=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A job was stored, or had been by an earlier request with the same idempotency key (`replayed`)."""

    job: Job
    replayed: bool = False
    queue_position: int | None = None  # how many jobs of its model come before it
    eta_s: float | None = None  # in how many seconds it will probably have ended; None: not known yet
