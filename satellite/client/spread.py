"""Much work at once, so much at a time; and the bar that shows how far it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


async def in_order(
    work: Callable[[S], Coroutine[Any, Any, T]], inputs: Iterable[S], concurrency: int
) -> AsyncGenerator[T]:
    """What comes of each input, in the order of the inputs, which are taken as there is room."""
    running: deque[asyncio.Task[T]] = deque()
    left = iter(inputs)
    try:
        while True:
            while len(running) < concurrency and (found := next(left, _NOTHING)) is not _NOTHING:
                running.append(asyncio.create_task(work(found)))  # pyright: ignore[reportArgumentType]
            if not running:
                return
            yield await running[0]
            running.popleft()
    finally:
        await _stop(running)


async def as_they_end(
    work: Callable[[S], Coroutine[Any, Any, T]], inputs: Iterable[S], concurrency: int
) -> AsyncGenerator[T]:
    """What comes of each input, first what ends first. The inputs are taken as there is room."""
    running: set[asyncio.Task[T]] = set()
    left = iter(inputs)
    try:
        while True:
            while len(running) < concurrency and (found := next(left, _NOTHING)) is not _NOTHING:
                running.add(asyncio.create_task(work(found)))  # pyright: ignore[reportArgumentType]
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        await _stop(running)


async def _stop(running: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(running)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


_NOTHING: Any = object()


@contextmanager
def progress_bar(label: str, total: int | None, *, done: int = 0) -> Iterator[Callable[[], None]]:
    """A bar on standard error, by rich, else tqdm, if one of them is installed.

    Args:
        label: what is done.
        total: how much there is; None: nobody knows.
        done: how much of it is done already.

    Yields:
        To be called for each that is done.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        pass
    else:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(label, total=total, completed=done)
            yield lambda: progress.advance(task)
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda: None
        return
    with tqdm(desc=label, total=total, initial=done) as bar:

        def advance() -> None:
            bar.update()

        yield advance
