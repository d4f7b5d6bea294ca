"""Tasks that are stopped."""

import asyncio

import pytest

from satellite import tasks
from satellite.tasks import stop


async def test_a_cancellation_that_was_lost_is_asked_for_again(monkeypatch):
    monkeypatch.setattr(tasks, "RETRY_S", 0.01)
    lost = 0

    async def survives_all_errors():
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(survives_all_errors())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stop(task)
    assert task.cancelled() and lost == 3


async def test_what_has_failed_says_so_and_what_never_began_is_no_error():
    async def fails():
        raise ValueError("no")

    task = asyncio.create_task(fails())
    await asyncio.wait({task})
    with pytest.raises(ValueError, match="no"):
        await stop(task)
    await stop(None)
