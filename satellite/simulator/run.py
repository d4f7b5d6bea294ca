"""Sends requests when they are due, whatever became of those before them.

The generator is open: a slow system does not slow it down, as devices do not wait for one another either. A
closed one, which sends when the last answer has come, would hide each stall from its own measurements
(coordinated omission). Latencies therefore count from the moment at which a request was due.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

from satellite.errors import SatelliteError
from satellite.simulator.readings import Reading
from satellite.simulator.sinks import Sink
from satellite.simulator.summary import Summary

# More than these are not kept open: a request due then is counted as not sent.
MAX_OPEN = 10_000
# Without a pace, so many are open at a time.
UNPACED = 32


class Clock(Protocol):
    """Time, as a run sees it."""

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    async def sleep_until(self, moment: float) -> None:
        """Returns at that moment, or at once if it is over; others run meanwhile."""
        ...


class RealClock:
    """The system's monotonic clock."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.perf_counter()

    async def sleep_until(self, moment: float) -> None:
        """Returns at that moment."""
        await asyncio.sleep(max(0.0, moment - self.now()))


class Run:
    """One run.

    Args:
        sink: where requests go.
        summary: counts them.
        clock: time.
        max_open: see `MAX_OPEN`.
    """

    def __init__(self, sink: Sink, summary: Summary, clock: Clock, *, max_open: int = MAX_OPEN) -> None:
        self._sink, self._summary, self._clock = sink, summary, clock
        self._max_open = max_open
        self._open: set[asyncio.Task[None]] = set()
        self._bug: BaseException | None = None
        self._room = asyncio.Semaphore(UNPACED)

    async def send_all(self, plan: Iterable[tuple[float | None, Reading]], *, drain_s: float) -> None:
        """Sends what is planned, and waits for its end. Cancelled, it lets go of what is open.

        Args:
            plan: when each request is due, in seconds from now; None: as soon as there is room.
            drain_s: how long to wait for answers after the last request.
        """
        begin = self._clock.now()
        try:
            for number, (due_s, reading) in enumerate(plan):
                if self._bug is not None:
                    break
                if due_s is None:
                    await self._room.acquire()
                    due = self._clock.now()
                else:
                    due = begin + due_s
                    await self._clock.sleep_until(due)
                if len(self._open) >= self._max_open:
                    self._summary.not_sent += 1
                    continue
                task = asyncio.create_task(self._send(number, reading, due, paced=due_s is not None))
                self._open.add(task)
                task.add_done_callback(self._done)
                self._summary.took_s = self._summary.sending_s = self._clock.now() - begin
            if self._open:
                await asyncio.wait(self._open, timeout=drain_s)
        finally:
            self._summary.took_s = self._clock.now() - begin
            left = list(self._open)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        if self._bug is not None:
            raise self._bug

    def _done(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not task.cancelled():
            # What a system answers is counted; this is none of its doing.
            self._bug = self._bug or task.exception()

    async def _send(self, number: int, reading: Reading, due: float, *, paced: bool) -> None:
        summary, clock, accepted = self._summary, self._clock, False

        def accept() -> None:
            nonlocal accepted
            accepted = True
            summary.note_accepted(clock.now() - due)

        summary.note_sent(reading, clock.now() - due)
        try:
            ending = await self._sink.send(number, reading, accept)
            summary.note_ended(reading, ending, clock.now() - due)
        except SatelliteError as error:
            summary.note_failed(error.code, accepted=accepted)
        finally:
            if not paced:
                self._room.release()
