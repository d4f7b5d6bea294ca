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
    Requeue,
    Start,
    StoredJob,
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
    "Requeue",
    "Start",
    "Store",
    "StoredJob",
    "Verdict",
]
