"""`AsyncClient`: every call on jobs and models, tried again where that helps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any, TypedDict, cast
from urllib.parse import quote
from uuid import UUID, uuid4

from satellite.client.caller import Caller, now
from satellite.client.results import (
    Event,
    Explanation,
    JobDetail,
    JobError,
    JobSummary,
    Model,
    Result,
    Submitted,
    read,
)
from satellite.client.spread import in_order, progress_bar
from satellite.client.wire import (
    RETRIED,
    Answer,
    EventParser,
    Json,
    make_call,
    pause_s,
)
from satellite.errors import (
    BadRequest,
    InvalidInput,
    InvalidRequest,
    OutOfMemory,
    SatelliteError,
    SlowReader,
    Unavailable,
)
from satellite.status import JobStatus

PREFIX = "/api/v1"
# One long poll: short enough for every proxy on the way.
POLL_S = 10.0
# What the API gives in one page of jobs.
PAGE = 500
CANCEL_WAIT_S = 5.0
# How the id of a job's last step ends: see `satellite.api.events`.
LAST_RANK = ".2"
# Refusals for which the input is to blame: of many inputs they concern one.
REFUSED = (BadRequest, InvalidInput, OutOfMemory)


class JobOptions(TypedDict, total=False):
    """What is asked of a job beside its input; docs/JOBS.md describes each."""

    model_version: str | None
    priority: int  # 0 to 9, 9 the most urgent
    deadline_s: float
    run_at: datetime | str
    labels: Mapping[str, str]
    max_attempts: int
    idempotency_key: str


# Whatever names a job: its id, or what a call has answered.
JobRef = UUID | str | Submitted | Result | JobSummary | Event


class AsyncClient(Caller):
    """The API of a system, over HTTP. Use it in `async with`, or close it.

    A call that fails for a passing reason (429, 502, 503, a lost connection) is tried again, after what
    `Retry-After` says and pauses that grow, until `timeout_s` are over. What makes a job carries an
    idempotency key, so that it is one job however often it is sent. For its arguments see `Caller`.
    """

    # Jobs

    async def submit(
        self, model_name: str, data: Any, /, *, job: JobOptions | None = None, **config: Any
    ) -> Submitted:
        """Store a job. When this returns it is committed; read it with `result`.

        Args:
            model_name: which model.
            data: the model's input: numbers, lists, arrays, series, tensors.
            job: what is asked of the job beside its input.
            **config: the model's config.

        Raises:
            SatelliteError: it was not accepted: `InvalidRequest`, `ModelNotFound`, `QueueFull` and so on.
        """
        return await self._submit(_body(model_name, data, config, job), (job or {}).get("idempotency_key"))

    async def result(self, job: JobRef, *, wait_s: float | None = 60) -> Result:
        """The job, once it has ended or `wait_s` are over.

        Args:
            job: which one.
            wait_s: seconds; 0: as it is now; None: however long it takes.

        Raises:
            JobNotFound: there is no such job.
        """
        path = f"{PREFIX}/inference/result/{_id(job)}"
        deadline = None if wait_s is None else now() + wait_s
        while True:
            left_s = POLL_S if deadline is None else max(0.0, deadline - now())
            asked_s = round(min(left_s, POLL_S), 3)
            answer = await self._send(make_call("GET", path, params={"wait_s": asked_s}, wait_s=asked_s))
            found = read(Result, answer.json())
            # An ingress that is about to stop answers early: the next one is asked for the rest.
            if found.status.is_terminal or (deadline is not None and now() >= deadline):
                return found

    async def predict(
        self,
        model_name: str,
        data: Any,
        /,
        *,
        wait_s: float = 30,
        model_version: str | None = None,
        **config: Any,
    ) -> Result:
        """Compute now; nothing is stored.

        Args:
            model_name: which model.
            data: the model's input: numbers, lists, arrays, series, tensors.
            wait_s: seconds that the system may take.
            model_version: which version of the model; None: its default.
            **config: the model's config.

        Raises:
            SatelliteError: `InvalidRequest`, `WaitTimeout`, `ModelFailed` and so on.
        """
        body = _body(model_name, data, config, {"model_version": model_version}) | {"wait_s": wait_s}
        call = make_call("POST", f"{PREFIX}/inference/predict", body=body, wait_s=wait_s, repeatable=True)
        return read(Result, (await self._send(call)).json())

    async def run(
        self, request: Mapping[str, Any], *, idempotency_key: str | None = None, wait_s: float | None = None
    ) -> Result:
        """Submit one request in the form of the API, and read its result.

        What the API refuses because of its input comes back as a result that failed, with `job_id` None.

        Args:
            request: `model_name`, `data`, `config` and what else a submit takes.
            idempotency_key: None: one of its own.
            wait_s: as in `result`.
        """
        try:
            submitted = await self._submit(request, idempotency_key)
        except REFUSED as error:
            told = JobError(code=error.code, title=error.title, detail=error.detail)
            return Result(status=JobStatus.FAILED, model_name=str(request["model_name"]), error=told)
        return await self.result(submitted, wait_s=wait_s)

    async def map(
        self,
        model_name: str,
        inputs: Iterable[Any],
        /,
        *,
        job: JobOptions | None = None,
        concurrency: int = 32,
        wait_s: float | None = None,
        progress: bool = False,
        **config: Any,
    ) -> AsyncGenerator[Result]:
        """Run a model over many inputs, as jobs; yields their results in the order of the inputs.

        A job that ends without success does not end the rest: its `output` raises its error. What is refused
        because of its input is a result that failed as well. All other errors are raised.

        Args:
            model_name: which model.
            inputs: taken as there is room, so that they may be endless.
            job: what is asked of each job. An `idempotency_key` is followed by `-` and the input's place
                (0, 1 ...): run again with it, the same inputs are the same jobs.
            concurrency: jobs under way at a time. Each holds a connection, and httpx looks at all of them for
                every call: many more make it slower.
            wait_s: as in `result`, for each.
            progress: show a bar, if rich or tqdm is there.
            **config: the model's config.
        """
        stem = (job or {}).get("idempotency_key")

        async def one(numbered: tuple[int, Any]) -> Result:
            number, data = numbered
            key = None if stem is None else f"{stem}-{number}"
            return await self.run(_body(model_name, data, config, job), idempotency_key=key, wait_s=wait_s)

        total = len(cast("Sequence[Any]", inputs)) if hasattr(inputs, "__len__") else None
        with progress_bar(model_name, total) if progress else nullcontext(lambda: None) as advance:
            results = in_order(one, enumerate(inputs), concurrency)
            try:
                async for result in results:
                    advance()
                    yield result
            finally:
                await results.aclose()

    async def stream(
        self, job: JobRef | None = None, *, model_name: str | None = None, after: str | None = None
    ) -> AsyncGenerator[Event]:
        """The steps of one job to its end, of a model's jobs, or of all jobs.

        A connection that breaks is made anew, and the stream goes on after the last event.

        Args:
            job: which one; None: those of `model_name`, or all.
            model_name: jobs of this model.
            after: the id of an event: go on after it. None: from the first step of the job, or from now on.

        Raises:
            JobNotFound, ModelNotFound: there is no such thing.
            CursorExpired: what came after `after` is no longer kept.
        """
        params = {"job_id": None if job is None else _id(job), "model_name": model_name}
        parser = EventParser()
        parser.last_id = after
        failures, since = 0, now()
        while True:
            headers = {} if parser.last_id is None else {"Last-Event-ID": parser.last_id}
            failure: SatelliteError = Unavailable("the stream ended")
            try:
                async with self._transport.lines(
                    make_call("GET", f"{PREFIX}/events", params=params, headers=headers)
                ) as lines:
                    async for line in lines:
                        failures, since = 0, now()
                        document = parser.feed(line)
                        if document is not None:
                            event = read(Event, document)
                            yield event
                            if job is not None and event.status.is_terminal:
                                return
            except SatelliteError as error:
                if error.status not in RETRIED:
                    raise
                failure = error
            if job is not None and (parser.last_id or "").endswith(LAST_RANK):
                return  # asked to go on after the end
            parser.forget()
            failures += 1
            pause = pause_s(failures, failure, self._rng)
            too_late = now() + pause > since + self._timeout_s and not isinstance(failure, SlowReader)
            if too_late or not self._retry:
                raise failure
            await asyncio.sleep(pause)

    async def job(self, job: JobRef) -> JobDetail:
        """Everything that is stored of a job.

        Raises:
            JobNotFound: there is no such job.
        """
        return read(JobDetail, await self.request("GET", f"{PREFIX}/jobs/{_id(job)}"))

    async def jobs(
        self,
        *,
        model_name: str | None = None,
        status: str | Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        parent: JobRef | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[JobSummary]:
        """Jobs without their payloads, newest first; pages are read as they are needed.

        Args:
            model_name: only of this model.
            status: only in this state, or one of these.
            labels: only with all of these.
            created_after: only created then or later.
            created_before: only created before.
            parent: only repetitions of this job.
            limit: so many at most; None: all.
        """
        params: Json = {
            "model_name": model_name,
            "status": [status] if isinstance(status, str) else list(status),
            "label": [f"{name}={value}" for name, value in (labels or {}).items()],
            "created_after": created_after,
            "created_before": created_before,
            "parent_id": None if parent is None else _id(parent),
        }
        count = 0
        while limit is None or count < limit:
            params["limit"] = PAGE if limit is None else min(PAGE, limit - count)
            page = await self.request("GET", f"{PREFIX}/jobs", params=params)
            for document in page["jobs"]:
                count += 1
                yield read(JobSummary, document)
            params["cursor"] = page["next_cursor"]
            if params["cursor"] is None:
                return

    async def explain(self, job: JobRef) -> Explanation:
        """Where a job's time went, and why.

        Raises:
            JobNotFound: there is no such job.
        """
        return read(Explanation, await self.request("GET", f"{PREFIX}/jobs/{_id(job)}/explain"))

    async def cancel(self, job: JobRef) -> JobSummary:
        """Cancel a job. One that waits never runs; of one that runs the result is discarded.

        Returns:
            The job; if it is not `cancelled` yet, it has been asked for.

        Raises:
            JobNotFound, JobFinished: there is nothing to cancel.
        """
        path = f"{PREFIX}/jobs/{_id(job)}/cancel"
        call = make_call("POST", path, wait_s=CANCEL_WAIT_S, repeatable=True)
        return read(JobSummary, (await self._send(call)).json())

    async def retry(
        self,
        job: JobRef,
        changes: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Repeat a job that has ended, as a new one.

        Args:
            job: which one.
            changes: what is to be other than in the job: `data`, `config`, `priority` and so on.
            idempotency_key: None: one of its own.

        Raises:
            JobNotFound, JobNotFinished: there is nothing to repeat.
        """
        path = f"{PREFIX}/jobs/{_id(job)}/retry"
        call = make_call("POST", path, body=changes or {}, idempotency_key=idempotency_key or _new_key())
        return _submitted(await self._send(call))

    # Models

    async def models(self) -> list[Model]:
        """All models: versions, schemas, an example, replicas, state."""
        return [
            read(Model, document) for document in (await self.request("GET", f"{PREFIX}/models"))["models"]
        ]

    async def model(self, name: str) -> Model:
        """One model.

        Raises:
            ModelNotFound: there is none of this name.
        """
        return read(Model, await self.request("GET", f"{PREFIX}/models/{quote(name, safe='')}"))

    async def _submit(self, body: Mapping[str, Any], idempotency_key: str | None) -> Submitted:
        key = idempotency_key or _new_key()
        call = make_call("POST", f"{PREFIX}/inference/submit", body=body, idempotency_key=key)
        return _submitted(await self._send(call))


def _body(
    model_name: str, data: Any, config: Mapping[str, Any], job: Mapping[str, Any] | JobOptions | None
) -> Json:
    options = {
        name: value for name, value in (job or {}).items() if value is not None and name != "idempotency_key"
    }
    return {**options, "model_name": model_name, "data": data, "config": config}


def _submitted(answer: Answer) -> Submitted:
    replayed = answer.headers.get("idempotent-replayed") == "true"
    return read(Submitted, answer.json() | {"replayed": replayed})


def _id(job: JobRef) -> str:
    found = job if isinstance(job, UUID | str) else job.job_id
    if found is None:
        raise InvalidRequest("this result has no job: a predict is not stored")
    try:
        return str(UUID(str(found)))
    except ValueError:
        raise InvalidRequest(f"{found!r} is not the id of a job, which looks like {_new_key()}") from None


def _new_key() -> str:
    return str(uuid4())
