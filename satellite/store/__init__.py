"""PostgreSQL: the truth about every job."""

from satellite.store.postgres import Completion, NewJob, Start, Store

__all__ = ["Completion", "NewJob", "Start", "Store"]
