"""PostgreSQL: the truth about every job."""

from satellite.store.postgres import Store, Verdict
from satellite.store.records import (
    Completion,
    DeadLetters,
    DefaultChange,
    IdempotencyKey,
    JobFilter,
    LogEvent,
    NewJob,
    OpenJobs,
    ReaderState,
    Requeue,
    Start,
    StoredJob,
    TenantEvent,
)

__all__ = [
    "Completion",
    "DeadLetters",
    "DefaultChange",
    "IdempotencyKey",
    "JobFilter",
    "LogEvent",
    "NewJob",
    "OpenJobs",
    "ReaderState",
    "Requeue",
    "Start",
    "Store",
    "StoredJob",
    "TenantEvent",
    "Verdict",
]
