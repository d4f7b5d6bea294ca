"""How calls reach the API: what a transport is, and the one that speaks HTTP."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import httpx

from satellite.client.wire import Answer, Call, answer_error
from satellite.errors import ConfigError, Unavailable, Unreached

# Longer than any wait the server grants in one call, so that only a connection that is gone is given up.
SLACK_S = 15.0
CONNECT_TIMEOUT_S = 5.0
# A stream on which nothing happens carries a ping every 15 s.
STREAM_SILENCE_S = 45.0
# What a header may hold. Anything else httpx would refuse with an error that shows the key.
_KEY = re.compile(r"[\x21-\x7e]+")


class Transport(Protocol):
    """Carries calls. One that fails on the way raises `Unavailable`, or `Unreached` if it never arrived."""

    async def send(self, call: Call) -> Answer:
        """One call and its answer, an error too."""
        ...

    def lines(self, call: Call) -> AbstractAsyncContextManager[AsyncGenerator[str]]:
        """The lines of an endless answer. Leaving it early ends it. An error is raised."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


def default_url() -> str:
    """Where the API is unless the caller says so; as `satellite.settings`, which needs Pydantic, has it."""
    host = os.environ.get("SATELLITE_HTTP_HOST", "127.0.0.1")
    port = os.environ.get("SATELLITE_HTTP_PORT", "8000")
    return os.environ.get("SATELLITE_URL") or f"http://{host}:{port}"


def default_api_key() -> str | None:
    """The key to call with unless the caller names one."""
    return os.environ.get("SATELLITE_API_KEY") or None


class HttpTransport:
    """HTTP, over connections that are kept. Redirects are not followed, so a key goes to `url` alone.

    Args:
        url: base address, without a path.
        headers: sent with every call.
        api_key: sent with every call as well, unless `headers` have an `Authorization` of their own.

    Raises:
        ConfigError: the key is none.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, *, api_key: str | None = None
    ) -> None:
        self.url = url
        sent = httpx.Headers(headers)
        if api_key is not None:
            sent.setdefault("Authorization", bearer(api_key))
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=sent,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            # A proxy set for the internet must not catch loopback calls.
            trust_env=httpx.URL(url).host not in ("127.0.0.1", "localhost", "::1"),
        )

    async def send(self, call: Call) -> Answer:
        """One call and its answer."""
        timeout = httpx.Timeout(call.wait_s + SLACK_S, connect=CONNECT_TIMEOUT_S)
        try:
            response = await self._client.send(self._request(call, timeout))
        except httpx.TransportError as error:
            raise self._lost(error) from None
        return Answer(status=response.status_code, headers=response.headers, body=response.content)

    @asynccontextmanager
    async def lines(self, call: Call) -> AsyncGenerator[AsyncGenerator[str]]:
        """The lines of an endless answer."""
        timeout = httpx.Timeout(STREAM_SILENCE_S, connect=CONNECT_TIMEOUT_S)
        try:
            response = await self._client.send(self._request(call, timeout), stream=True)
        except httpx.TransportError as error:
            raise self._lost(error) from None
        try:
            if not response.is_success:
                body = await response.aread()
                raise answer_error(Answer(status=response.status_code, headers=response.headers, body=body))
            yield self._lines(response)
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _lines(self, response: httpx.Response) -> AsyncGenerator[str]:
        try:
            async for line in response.aiter_lines():
                yield line
        except httpx.TransportError as error:
            raise self._lost(error) from None

    def _request(self, call: Call, timeout: httpx.Timeout) -> httpx.Request:
        return self._client.build_request(
            call.method,
            call.path,
            params=call.query or None,
            content=call.body,
            headers=call.headers,
            timeout=timeout,
        )

    def _lost(self, error: httpx.TransportError) -> Unavailable:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            return Unreached(f"no answer from {self.url} ({error or type(error).__name__})")
        return Unavailable(f"the connection to {self.url} was lost ({error or type(error).__name__})")


def bearer(api_key: str) -> str:
    """The value of `Authorization` for a key.

    Raises:
        ConfigError: no key has such characters. It does not show them.
    """
    # A key that was read from a file ends with a line.
    key = api_key.strip()
    if not _KEY.fullmatch(key):
        raise ConfigError("the API key is not one: it is empty, or has characters that no key has")
    return f"Bearer {key}"
