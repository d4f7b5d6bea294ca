"""How calls are made: tried again where that helps, until they are answered or out of time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from satellite.client.transport import HttpTransport, Transport, default_api_key, default_url
from satellite.client.wire import RETRIED, Answer, Call, Json, answer_error, make_call, pause_s
from satellite.errors import SatelliteError, Unavailable, Unreached, WaitTimeout


class Caller:
    """What a client has beside its methods. Use it in `async with`, or close it.

    Args:
        url: base address, such as `http://127.0.0.1:8000`; None: `SATELLITE_URL`, else the local system's.
        timeout_s: how long a call may take, further tries included; waits that the caller asks for (`wait_s`)
            come on top.
        retry: whether to try again at all.
        api_key: sent with every call; None: `SATELLITE_API_KEY`, if it is set.
        headers: sent with every call.
        transport: carries the calls in the place of HTTP.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout_s: float = 60,
        retry: bool = True,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._transport = transport or HttpTransport(
            (url or default_url()).rstrip("/"), headers, api_key=api_key or default_api_key()
        )
        self._timeout_s = timeout_s
        self._retry = retry
        self._rng = random.Random()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        wait_s: float = 0,
    ) -> Json:
        """Any call of the API, by its path: its document as it is. A GET is tried again as all calls are.

        Args:
            method: GET, POST or DELETE.
            path: such as `/api/v1/models`.
            body: sent as JSON.
            params: of the query; a list is sent as several, None not at all.
            idempotency_key: makes a POST one that may be tried again.
            wait_s: for how long the server may take.
        """
        call = make_call(
            method, path, body=body, params=params, idempotency_key=idempotency_key, wait_s=wait_s
        )
        return (await self._send(call)).json()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, call: Call) -> Answer:
        """One call, tried until it is answered, refused for good, or out of time."""
        deadline = now() + self._timeout_s + call.wait_s
        failure: SatelliteError | None = None
        failures = 0
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    answer = await self._transport.send(call)
            except TimeoutError:
                raise failure or WaitTimeout(
                    f"{call.method} {call.path}: no answer within {self._timeout_s + call.wait_s:g} s"
                ) from None
            except Unavailable as error:
                failure, again = error, call.repeatable or isinstance(error, Unreached)
            else:
                if answer.ok:
                    return answer
                failure = answer_error(answer)
                # 429 says that nothing was done; 502 and 503 may come after all was.
                again = failure.status in RETRIED and (call.repeatable or failure.status == 429)
            failures += 1
            pause = pause_s(failures, failure, self._rng)
            if not (again and self._retry) or now() + pause > deadline:
                raise failure
            await asyncio.sleep(pause)


def now() -> float:
    """Seconds on the event loop's clock."""
    return asyncio.get_running_loop().time()
