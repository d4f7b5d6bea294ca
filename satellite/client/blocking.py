"""`Client`: the methods of `AsyncClient` for programs without an event loop, and for notebooks."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from satellite.client.async_client import AsyncClient
from satellite.client.transport import Transport

P = ParamSpec("P")
T = TypeVar("T")

_END: Any = object()


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    """The method, run to its end."""

    @functools.wraps(method)
    def call(self: Client, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.run_in_loop(method(self.asynchronous, *args, **kwargs))

    return call


def _iterating(
    method: Callable[Concatenate[AsyncClient, P], AsyncGenerator[T]],
) -> Callable[Concatenate[Client, P], Generator[T]]:
    """The method, one item at a time; its work goes on between them."""

    @functools.wraps(method)
    def iterate(self: Client, *args: P.args, **kwargs: P.kwargs) -> Generator[T]:
        items = method(self.asynchronous, *args, **kwargs)
        # Ctrl-C leaves a step behind that is still being cancelled: only then can the rest be closed.
        turn = asyncio.Lock()
        try:
            while (item := self.run_in_loop(_next(items, turn))) is not _END:
                yield item
        finally:
            # The garbage collector may come by in the loop's own thread, which then does this by itself.
            if not (self.closed or self.in_loop):
                self.run_in_loop(_close(items, turn))

    return iterate


async def _next(items: AsyncGenerator[T], turn: asyncio.Lock) -> T:
    async with turn:
        return await anext(items, _END)


async def _close(items: AsyncGenerator[Any], turn: asyncio.Lock) -> None:
    async with turn:
        await items.aclose()


class Client:
    """The API of a system, over HTTP. Use it in `with`, or close it. Threads may share it, forks may not.

    Each method is that of `AsyncClient`: it runs in an event loop of the client's own, in a thread. What
    `AsyncClient` yields asynchronously, this one yields in a plain loop.

    Args:
        url: base address, such as `http://127.0.0.1:8000`; None: `SATELLITE_URL`, else the local system's.
        timeout_s: how long a call may take, further tries included; waits that the caller asks for (`wait_s`)
            come on top.
        retry: whether to try again what failed for a passing reason.
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
        self.asynchronous = AsyncClient(
            url, timeout_s=timeout_s, retry=retry, api_key=api_key, headers=headers, transport=transport
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="satellite-client", daemon=True)
        self._thread.start()

    submit = _blocking(AsyncClient.submit)
    result = _blocking(AsyncClient.result)
    predict = _blocking(AsyncClient.predict)
    run = _blocking(AsyncClient.run)
    map = _iterating(AsyncClient.map)
    stream = _iterating(AsyncClient.stream)
    job = _blocking(AsyncClient.job)
    jobs = _iterating(AsyncClient.jobs)
    explain = _blocking(AsyncClient.explain)
    cancel = _blocking(AsyncClient.cancel)
    retry = _blocking(AsyncClient.retry)
    models = _blocking(AsyncClient.models)
    model = _blocking(AsyncClient.model)
    request = _blocking(AsyncClient.request)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._thread.is_alive()

    @property
    def in_loop(self) -> bool:
        """Whether this is the thread of the client's event loop, which must not wait for itself."""
        return threading.current_thread() is self._thread

    def run_in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the client's event loop; Ctrl-C ends it there too.

        Raises:
            RuntimeError: the client is closed, or this is called from within its loop.
        """
        if self.closed or self.in_loop:
            work.close()
            raise RuntimeError(
                "this client is closed"
                if self.closed
                else "the inputs of `map` are taken in the client's own thread: call another client there"
            )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Close the connections, and end the client's thread."""
        if not self.closed:
            self.run_in_loop(self.asynchronous.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
