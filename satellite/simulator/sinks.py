"""Where requests go: what a sink is, and the three ways over REST."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import UUID, uuid4

from satellite.client import AsyncClient, JobOptions, Result
from satellite.client.async_client import PREFIX
from satellite.client.transport import HttpTransport, Transport
from satellite.client.wire import RETRIED, Answer, Call, answer_error, to_error
from satellite.errors import SatelliteError
from satellite.simulator.readings import Reading

# httpx looks at all connections of a client for every call: with a thousand open calls that takes longer than
# the calls. So they are spread.
CLIENTS = 16
# A batch leaves when it is so large, or so old.
BATCH = 100
BATCH_WAIT_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a request ended.

    Attributes:
        status: of its job; or `sent` or `written`, where nothing more is told.
        output: of the model.
    """

    status: str
    output: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of every reading.

    Attributes:
        model_name: which model.
        config: of the model.
        labels: on every job, beside `device` and `channel`.
    """

    model_name: str
    config: Mapping[str, Any]
    labels: Mapping[str, str]

    def labels_of(self, reading: Reading) -> dict[str, str]:
        """The labels of its job."""
        return {**self.labels, "device": reading.device, "channel": reading.channel}

    def body(self, reading: Reading) -> dict[str, Any]:
        """A request as the API takes it."""
        return {
            "model_name": self.model_name,
            "data": reading.points(),
            "config": dict(self.config),
            "labels": self.labels_of(reading),
        }


class Sink(Protocol):
    """Takes requests. Used in `async with`."""

    async def send(self, number: int, reading: Reading, accepted: Callable[[], None]) -> Ending:
        """Sends one request, calls `accepted` when it was accepted, and returns how it ended.

        Raises:
            SatelliteError: it was not accepted; or, after `accepted`, its end cannot be read.
        """
        ...

    async def __aenter__(self) -> Self:
        """Opens it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        ...


class CountingTransport:
    """HTTP, with a count of the calls that failed for a passing reason.

    Args:
        url: base address.
        retried: where they are counted, by code.
        api_key: to call with, if any.
    """

    def __init__(self, url: str, retried: Counter[str], api_key: str | None = None) -> None:
        self._http: Transport = HttpTransport(url, api_key=api_key)
        self._retried = retried

    async def send(self, call: Call) -> Answer:
        """One call and its answer."""
        try:
            answer = await self._http.send(call)
        except SatelliteError as error:
            self._retried[error.code] += 1
            raise
        if answer.status in RETRIED:
            self._retried[answer_error(answer).code] += 1
        return answer

    def lines(self, call: Call) -> AbstractAsyncContextManager[AsyncGenerator[str]]:
        """The lines of an endless answer."""
        return self._http.lines(call)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.close()


class RestSink:
    """Calls over HTTP; `submit` waits for each result by long polls.

    Args:
        url: base address.
        asked: what is asked of every reading.
        retried: where calls that failed for a passing reason are counted.
        api_key: to call with, if any.
        timeout_s: how long the client tries.
    """

    def __init__(
        self,
        url: str,
        asked: Asked,
        retried: Counter[str],
        *,
        api_key: str | None = None,
        timeout_s: float,
    ) -> None:
        self._asked = asked
        self._clients = [
            AsyncClient(transport=CountingTransport(url, retried, api_key), timeout_s=timeout_s)
            for _ in range(CLIENTS)
        ]

    async def send(self, number: int, reading: Reading, accepted: Callable[[], None]) -> Ending:
        """Submits a job, and reads its result."""
        asked = self._asked
        options: JobOptions = {"labels": asked.labels_of(reading)}
        client = self._clients[number % CLIENTS]
        job = await client.submit(asked.model_name, reading.points(), job=options, **asked.config)
        accepted()
        return _ending(await client.result(job, wait_s=None))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients:
            await client.close()


class PredictSink(RestSink):
    """Asks for the answer at once; nothing is stored."""

    async def send(self, number: int, reading: Reading, accepted: Callable[[], None]) -> Ending:
        """Predicts. What is answered was accepted."""
        asked = self._asked
        client = self._clients[number % CLIENTS]
        result = await client.predict(asked.model_name, reading.points(), **asked.config)
        accepted()
        return _ending(result)


class BatchSink(RestSink):
    """Gathers requests for a tenth of a second, and submits them in one call."""

    _gathered: list[tuple[dict[str, Any], asyncio.Future[UUID]]]
    _timer: asyncio.TimerHandle | None = None

    async def send(self, number: int, reading: Reading, accepted: Callable[[], None]) -> Ending:
        """Submits a job with others, and reads its result."""
        job_id = await self._submit(self._asked.body(reading))
        accepted()
        return _ending(await self._clients[number % CLIENTS].result(job_id, wait_s=None))

    async def __aenter__(self) -> Self:
        self._gathered, self._calls = [], set[asyncio.Task[None]]()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await super().__aexit__(kind, error, trace)

    async def _submit(self, body: dict[str, Any]) -> UUID:
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[UUID] = loop.create_future()
        self._gathered.append((body | {"idempotency_key": str(uuid4())}, verdict))
        if len(self._gathered) >= BATCH:
            self._leave()
        elif self._timer is None:
            self._timer = loop.call_later(BATCH_WAIT_S, self._leave)
        return await verdict

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, []
        if gathered:
            call = asyncio.create_task(self._call(gathered))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, gathered: list[tuple[dict[str, Any], asyncio.Future[UUID]]]) -> None:
        verdicts = [verdict for _, verdict in gathered]
        try:
            answer = await self._clients[0].request(
                "POST", f"{PREFIX}/inference/batch", body={"items": [body for body, _ in gathered]}
            )
        except SatelliteError as error:
            for verdict in verdicts:
                if not verdict.done():
                    verdict.set_exception(error)
            return
        for verdict, item in zip(verdicts, answer["items"], strict=True):
            if verdict.done():  # its sender has gone
                continue
            if item["status_code"] == 202:
                verdict.set_result(UUID(item["job_id"]))
            else:
                verdict.set_exception(to_error(item["problem"]))


def _ending(result: Result) -> Ending:
    return Ending(status=result.status, output=result.result)
