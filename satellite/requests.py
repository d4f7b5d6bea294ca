"""What waits in a model's queue: a stored job, or a synchronous request. Both satisfy `dispatch.Request`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

from satellite.batching import Outcome
from satellite.catalog import ValidRequest
from satellite.dispatch import Batch
from satellite.jobs import Job

if TYPE_CHECKING:
    from satellite.service import Service


class JobRequest:
    """A stored job on its way through the queue."""

    def __init__(
        self,
        service: Service,
        job: Job,
        *,
        data: Any,
        config: dict[str, Any],
        owner: UUID,
        flush: bool = False,
        alone: bool = False,
    ) -> None:
        self.data = data
        self.config = config
        self.flush = flush
        self.alone = alone
        self.owner = owner
        self.job = job
        self._service = service

    @property
    def abandoned(self) -> bool:
        """Whether the lease it was held under is lost: somebody else runs it."""
        return self.owner != self._service.owner

    def dispatched(self) -> None:
        """Handed to a replica."""
        self._service.job_started(self)

    def finished(self, outcome: Outcome, batch: Batch) -> None:
        """Has an outcome."""
        self._service.job_finished(self, outcome, batch)


class PredictRequest:
    """A synchronous request that is not stored."""

    flush = True
    alone = False

    def __init__(self, request: ValidRequest) -> None:
        self.data = request.data
        self.config = request.config
        self.answer: asyncio.Future[tuple[Outcome, Batch]] = asyncio.get_running_loop().create_future()

    @property
    def abandoned(self) -> bool:
        """Whether its caller has gone."""
        return self.answer.cancelled()

    def dispatched(self) -> None:
        """Handed to a replica; nobody needs to know."""

    def finished(self, outcome: Outcome, batch: Batch) -> None:
        """Has an outcome."""
        if not self.answer.done():
            self.answer.set_result((outcome, batch))
