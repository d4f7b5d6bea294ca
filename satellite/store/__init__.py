"""PostgreSQL: the truth about every job."""

from satellite.store.postgres import Completion, NewJob, Orphan, Start, Store

__all__ = ["Completion", "NewJob", "Orphan", "Start", "Store"]
