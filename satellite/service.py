"""The way of a job begins here: admit it, record it, hand it to the jobs that are held (`held.py`).

::

    submit():    validate -> INSERT (group commit) -> HeldJobs.hold -> 202 + id
    ModelQueue:  8 or 2 s -> one handle call -> replica: @serve.batch -> infer
    HeldJobs:    fenced UPDATE (group commit) -> Redis cache and events -> watchers

A job that cannot run now is inserted without an owner: it waits in the database until the feed claims it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import orjson

from satellite.access.callers import Caller
from satellite.access.limits import Quota
from satellite.admission import make_job
from satellite.artifacts import ArtifactSource
from satellite.batching import FlushReason, Outcome, Tensor
from satellite.catalog import Catalog, ValidRequest
from satellite.dispatch import ModelQueue
from satellite.errors import (
    IdempotencyConflict,
    SatelliteError,
    StoreUnavailable,
    WaitTimeout,
)
from satellite.events import EventHub, Wake
from satellite.fairness import has_room
from satellite.feed import Feed
from satellite.held import HeldJobs, error_json
from satellite.jobs import Job, JobStatus
from satellite.lanes import Batch
from satellite.lease import Lease
from satellite.metrics import Metrics
from satellite.releases import NoReplicas, Releases, Replicas
from satellite.requests import JobRequest, PredictRequest
from satellite.settings import Settings
from satellite.store import NewJob, Store, Verdict
from satellite.submission import Submission, Submitted
from satellite.tasks import Background, Turns
from satellite.upkeep import Upkeep
from satellite.webhooks.receivers import Receivers
from satellite.webhooks.records import JobWebhook


@dataclass(frozen=True, slots=True, kw_only=True)
class _New:
    """A job on its way into the database."""

    came_at_s: float
    submission: Submission
    request: ValidRequest[str]
    job: Job
    webhook: JobWebhook | None


class Service:
    """What an ingress does for its callers, free of HTTP and of Ray. What is read is in `watching.py`."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        queues: dict[str, ModelQueue],
        store: Store,
        events: EventHub,
        metrics: Metrics,
        settings: Settings,
        sources: Mapping[str, ArtifactSource] | None = None,
        replicas: Replicas | None = None,
    ) -> None:
        self.catalog = catalog
        self.queues = queues
        self.store = store
        self.events = events
        self.releases = Releases(catalog, sources or {}, store, events, replicas or NoReplicas())
        self.receivers = Receivers.of(settings)
        self._quota = Quota(store.keys)
        self.draining = asyncio.Event()
        self.lease = Lease(
            store,
            renewed=self._after_heartbeat,
            lost=lambda: self.held.drop_waiting(),
            metrics=metrics,
        )
        self.held = HeldJobs(
            lambda: self.lease.owner,
            catalog=catalog,
            queues=queues,
            store=store,
            events=events,
            metrics=metrics,
            lane=self.releases.lane,
            recent_s=settings.result_cache_s,
        )
        self._feed = Feed(
            store, queues, max_held=settings.max_held, owner=self._claiming_owner, adopt=self.held.adopt
        )
        self._upkeep = Upkeep(self, settings)
        self._settings = settings
        self.metrics = metrics
        self._background = Background()
        for queue in queues.values():
            queue.gate = self._may_start_jobs
        store.connections.on_change = self._store_changed

    @property
    def owner(self) -> UUID:
        """This ingress, for its lease and the fence on its completions."""
        return self.lease.owner

    async def submit(self, submission: Submission, caller: Caller) -> Submitted:
        """Accept a job. When this returns, the job is committed in PostgreSQL.

        Args:
            submission: what is asked for.
            caller: who asks.

        Raises:
            ModelNotFound, VersionNotFound, InvalidRequest, QueueFull, IdempotencyConflict, StoreUnavailable:
            it was not accepted.
        """
        new = await self._new(submission, caller.tenant, time.time())
        self.queues[submission.model_name].admit(caller.tenant)
        await self._quota.admit(caller)
        row = self._row(new)
        try:
            # A caller that hangs up during the commit must not leave a committed job that nobody runs.
            answer = await self.store.insert_then(row, partial(self._committed, new, row))
        except StoreUnavailable:
            self._upkeep.expect_strays()
            raise
        if isinstance(answer, IdempotencyConflict):
            raise answer
        return answer if isinstance(answer, Submitted) else await self._replayed(answer, caller.tenant)

    async def submit_all(
        self, submissions: Sequence[Submission | SatelliteError], caller: Caller
    ) -> list[Submitted | SatelliteError]:
        """Accept many jobs in one transaction, each for itself: what is wrong with one touches no other.

        Args:
            submissions: an error stands for one that was refused already, and comes back in its place.
            caller: who asks for them.

        Raises:
            StoreUnavailable: none was accepted.
        """
        came_at_s = time.time()
        items: list[_New | SatelliteError] = []
        counts: dict[str, int] = dict.fromkeys(self.queues, 0)
        if urls := [s.webhook.url for s in submissions if isinstance(s, Submission) and s.webhook]:
            await self.receivers.admit_all(urls)
        turns = Turns()
        for submission in submissions:
            await turns.pause()
            try:
                if isinstance(submission, SatelliteError):
                    raise submission
                new = await self._new(submission, caller.tenant, came_at_s)
                counts[submission.model_name] += 1
                self.queues[submission.model_name].admit(caller.tenant, counts[submission.model_name])
                await self._quota.admit(caller)
                items.append(new)
            except SatelliteError as error:
                items.append(error)
        return await asyncio.shield(self._background.spawn(self._accept_all(items)))

    async def _new(self, submission: Submission, tenant: str, came_at_s: float) -> _New:
        job, request = await make_job(submission, tenant, self.catalog, self.releases)
        webhook = submission.webhook and await self.receivers.of_job(submission.webhook)
        return _New(came_at_s=came_at_s, submission=submission, request=request, job=job, webhook=webhook)

    def _row(self, new: _New, *, before: int = 0) -> NewJob:
        """The job as it is inserted: held by this ingress, if it can run now and there is room for it.

        Args:
            new: the job.
            before: how many of its model come into this ingress with it, before it.
        """
        job, size_bytes = new.job, new.request.size_bytes
        is_held = (
            (job.run_at is None or job.run_at <= job.created_at)
            and self._may_start_jobs()
            and not self._feed.has_backlog(job.model_name, job.tenant)
            and has_room(self._settings.max_held, job.tenant, before + 1, self.queues[job.model_name].held)
            and has_room(self._settings.max_held_bytes, job.tenant, size_bytes, self.held.size_bytes)
        )
        return NewJob(
            job=job,
            input=new.request.data,
            config=new.request.config,
            owner=self.owner if is_held else None,
            idempotency=new.submission.idempotency,
            webhook=new.webhook,
        )

    async def _accept_all(self, items: list[_New | SatelliteError]) -> list[Submitted | SatelliteError]:
        rows: list[NewJob] = []
        held: Counter[str] = Counter()
        for item in items:
            if isinstance(item, _New):
                row = self._row(item, before=held[item.job.model_name])
                held[item.job.model_name] += row.owner is not None
                rows.append(row)
        try:
            verdicts = await self.store.insert_all(rows) if rows else []
        except StoreUnavailable:
            self._upkeep.expect_strays()
            raise
        stored = iter(zip(rows, verdicts, strict=True))
        answers: list[Submitted | SatelliteError] = []
        for item in items:
            if isinstance(item, SatelliteError):
                answers.append(item)
                continue
            row, verdict = next(stored)
            try:
                answer = self._committed(item, row, verdict)
                answers.append(
                    await self._replayed(answer, item.job.tenant) if isinstance(answer, UUID) else answer
                )
            except SatelliteError as error:
                answers.append(error)  # of this one alone: the others are committed and must be held
        return answers

    async def _replayed(self, job_id: UUID, tenant: str) -> Submitted:
        """The job that the same idempotency key made before."""
        earlier = self.held.find(job_id, tenant) or await self.store.get(job_id, tenant)
        if earlier is None:
            raise IdempotencyConflict(
                f"the idempotency key was used for job {job_id}, which has been deleted; send a new key"
            )
        return Submitted(job=earlier, replayed=True)

    def _committed(self, new: _New, row: NewJob, verdict: Verdict) -> Submitted | Verdict:
        """A job is committed: queue it, if it is held here, and say what to expect. Others' verdicts stay."""
        job, now_s = new.job, time.time()
        if verdict != job.job_id:
            return verdict
        queue = self.queues[job.model_name]
        ahead = queue.ahead_of(job.priority, job.tenant)
        eta_s = queue.eta_s(ahead)
        if eta_s is not None and job.run_at is not None:
            eta_s += max(0.0, job.run_at.timestamp() - now_s)
        self.metrics.jobs_submitted.add(job.model_name)
        self.metrics.record_seconds.observe(now_s - new.came_at_s, "submit")
        self.events.wake(Wake.LOG)
        if row.webhook is not None:
            self.events.wake(Wake.WEBHOOK)
        if row.owner is None:
            if job.run_at is None or job.run_at <= job.created_at:
                queue.elsewhere.add(job.tenant)  # a delayed one is before nobody yet
            self._feed.expect(job)
        else:
            request = JobRequest(
                self.held,
                job,
                data=new.request.data,
                config=new.request.config,
                size_bytes=new.request.size_bytes,
                version=self.releases.lane(job.model_name, job.requested_version),
                owner=row.owner,
                ready_at_s=now_s,
                urgent=FlushReason.FLUSH if new.submission.flush else None,
                admission_s=now_s - new.came_at_s,
            )
            self.held.hold(request)
        return Submitted(job=job, queue_position=ahead, eta_s=eta_s)

    async def predict(
        self,
        model_name: str,
        data: Any,
        config: dict[str, Any],
        *,
        tenant: str,
        wait_s: float,
        model_version: str | None = None,
    ) -> bytes:
        """Compute now, without storing anything.

        Returns:
            The wire form of a finished job, with no `job_id`.

        Raises:
            ModelNotFound, VersionNotFound, InvalidRequest, QueueFull: it was not accepted.
            WaitTimeout: no answer within `wait_s`.
        """
        created_at, began = datetime.now(UTC), time.monotonic()
        valid = self.catalog.find(model_name).validate_unstored(data, config)
        version = await self.releases.choose(model_name, model_version)
        request = PredictRequest(valid, self.releases.lane(model_name, version), tenant)
        queue = self.queues[model_name]
        queue.admit(tenant)
        queue.put(request)
        timer = asyncio.get_running_loop().call_later(wait_s, request.give_up, wait_s)
        try:
            outcome, batch = await request.answer
        finally:
            timer.cancel()
        status = JobStatus.SUCCEEDED if outcome.error is None else JobStatus.FAILED
        self.metrics.predict_seconds.observe(time.monotonic() - began, model_name, status)
        return orjson.dumps(
            {
                "job_id": None,
                "status": status,
                "model_name": model_name,
                "model_version": batch.result and batch.result.model_version,
                "result": outcome.output and orjson.Fragment(outcome.output),
                "error": outcome.error and orjson.Fragment(error_json(outcome.error)),
                "attempt": 1,
                "created_at": created_at,
                "started_at": batch.result and datetime.fromtimestamp(batch.result.started_at_s, UTC),
                "finished_at": datetime.now(UTC),
            },
            option=orjson.OPT_UTC_Z,
        )

    async def predict_rows(
        self,
        model_name: str,
        requests: Sequence[ValidRequest[str | Tensor]],
        *,
        tenant: str,
        version: str | None,
        wait_s: float,
    ) -> list[tuple[Outcome, Batch]]:
        """Compute requests that came together, without storing anything.

        Args:
            model_name: the model.
            requests: what it shall answer.
            tenant: whose requests they are.
            version: as `releases.choose` has chosen it.
            wait_s: for how long their caller waits.

        Returns:
            For each what came of it, and how it was computed.

        Raises:
            QueueFull: none was accepted.
            WaitTimeout: not all were computed within `wait_s`; those that still wait are dropped.
        """
        began = time.monotonic()
        queue = self.queues[model_name]
        queue.admit(tenant, len(requests))
        lane = self.releases.lane(model_name, version)
        waiting = [PredictRequest(request, lane, tenant) for request in requests]
        for request in waiting:
            queue.put(request)
        try:
            async with asyncio.timeout(wait_s):
                answers = [await request.answer for request in waiting]
        except TimeoutError:
            raise WaitTimeout(f"no answer within {wait_s:g} s", retry_after_s=1) from None
        finally:
            for request in waiting:
                request.answer.cancel()
        for outcome, _ in answers:
            status = JobStatus.SUCCEEDED if outcome.error is None else JobStatus.FAILED
            self.metrics.predict_seconds.observe(time.monotonic() - began, model_name, status)
        return answers

    async def start(self) -> None:
        """Take up the lease, and begin to look after waiting jobs and those of ingresses that were lost."""
        self.events.on_wake(Wake.WORK, self._feed.wake)
        self.events.on_wake(Wake.CANCEL, lambda job_id: self.held.cancel(UUID(job_id)))
        self.events.on_wake(Wake.FORGET, lambda job_id: self.held.recent.forget(UUID(job_id)))
        await self.events.start()
        await self.releases.start()
        await self.lease.start()
        self._feed.start()

    def look(self) -> None:
        """Set the metrics that nothing but a look at this moment tells."""
        for name, queue in self.queues.items():
            self.metrics.queue_depth.set(len(queue), name)
            self.metrics.batch_size_limit.set(queue.batching.max_batch_size, name)
        self.metrics.store_up.set(self.store.connections.up, "postgresql")
        self.metrics.store_up.set(self.events.connected, "redis")

    def drain(self) -> None:
        """About to stop: batches leave at once, long waits and sockets end. Safe to call twice."""
        self.draining.set()
        for queue in self.queues.values():
            queue.drain()
        self.events.interrupt()

    async def close(self) -> None:
        """Finish what replicas are computing, record it, hand the rest back, and disconnect."""
        self.drain()
        await self._feed.close()
        await self.releases.close()
        await asyncio.gather(*(queue.close() for queue in self.queues.values()))
        await self._background.finish()
        await self.held.finish()
        for model_name in await self.lease.close():
            self.events.wake(Wake.WORK, model_name)
        await self.store.close()
        await self.events.close()

    def _may_start_jobs(self) -> bool:
        """In doubt of its lease a job may be somebody else's; without the store results would pile up."""
        return self.store.connections.up and self.lease.is_held

    def _claiming_owner(self) -> UUID | None:
        return self.owner if self._may_start_jobs() and not self.draining.is_set() else None

    async def _after_heartbeat(self) -> None:
        self._poke()
        await self._upkeep.run()

    def _store_changed(self, up: bool) -> None:
        if up:
            self._upkeep.expect_strays()
            self._poke()
            self._feed.wake()

    def _poke(self) -> None:
        for queue in self.queues.values():
            queue.poke()
