"""What waits in the queue of a model, and in which order it leaves.

Requests wait in a lane for each version of the model; in a lane, in a line for the synchronous ones and
one for the stored jobs. In a line tenants take turns (`fairness.py`); in its turn each sends what ranks
highest of its own, by the time since it could run, plus `PRIORITY_STEP` for each step of priority. All
age alike, so nothing is starved (Kleinrock's delay-dependent priorities, with one slope for all).

A synchronous request leaves before all jobs, but for those that have aged until they rank higher: with
these its tenant takes turns. With one tenant, all of this together is the order of ranks.
Source: L. Kleinrock, "A delay dependent queue discipline", Naval Research Logistics Quarterly 11 (1964).
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from typing import Protocol

from satellite.batching import ChunkResult, FlushReason, Outcome, Tensor
from satellite.fairness import Tally, Turns
from satellite.jobs import MAX_PRIORITY, PRIORITY_STEP

# Synchronous requests: they need no lease, so they leave even while stored jobs are held back.
SYNC = MAX_PRIORITY + 1
_STEP_S = PRIORITY_STEP.total_seconds()


class Request(Protocol):
    """What the queue holds: something to compute that wants to hear what became of it."""

    tenant: str  # whose it is
    config: str  # JSON
    size_bytes: int  # of its data and config
    version: str | None  # of the model; None: the only one
    level: int  # its priority, 0 to 9, or SYNC
    urgent: FlushReason | None  # must not wait for a batch to fill, and why
    suspect: bool  # a replica died under it: it may be the cause, so it shares no batch

    @property
    def data(self) -> str | Tensor:
        """Its input, as JSON or as an array of numbers."""
        ...

    def is_wanted(self) -> bool:
        """Whether it shall still run. Asked last thing before it is handed over; if not, it is dropped."""
        ...

    def dispatched(self, fill_s: float) -> None:
        """It has been handed to a replica, after `fill_s` seconds in which one was free for its batch."""
        ...

    def finished(self, outcome: Outcome, batch: Batch) -> None:
        """It has an outcome."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How a request was computed. `result` is None if no replica answered."""

    flush_reason: FlushReason
    result: ChunkResult | None


# Requests that leave, each with the time since when it could run.
Taken = list[tuple[Request, float]]


class _Own:
    """What one tenant has in a line: by level, oldest first, each with the time since when it could run."""

    __slots__ = ("levels", "tenant")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.levels: dict[int, OrderedDict[Request, float]] = {}

    def first_level(self) -> int:
        """The level whose first request ranks highest; of equals the lower one."""
        if len(self.levels) == 1:
            return next(iter(self.levels))
        first, first_rank = -1, math.inf
        for level, queue in self.levels.items():
            rank = next(iter(queue.values())) - level * _STEP_S
            if rank < first_rank or (rank == first_rank and level < first):
                first, first_rank = level, rank
        return first

    def rank(self) -> float:
        """The lower, the earlier it leaves."""
        level = self.first_level()
        return next(iter(self.levels[level].values())) - level * _STEP_S


class Line:
    """Requests in which tenants take turns.

    Args:
        turns: whose turn it is; other lines may share it.

    Attributes:
        count: how many wait.
    """

    __slots__ = ("_heap", "_joined", "_largest_bytes", "_tenants", "count", "turns")

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.count = 0
        self._tenants: dict[str, _Own] = {}
        # By the start of each tenant's next request as it was when last looked at: by now it may be
        # later, never earlier. Those that start together take turns in the order in which they joined.
        # Who has gone may still be in it.
        self._heap: list[tuple[int, int, _Own]] = []
        self._joined = 0
        self._largest_bytes = 0

    def __iter__(self) -> Iterator[Request]:
        return (
            request for own in self._tenants.values() for queue in own.levels.values() for request in queue
        )

    def put(self, request: Request, came_at: float, level: int) -> None:
        """Add a request; of one level they leave in the order in which they were put."""
        own = self._tenants.get(request.tenant)
        if own is None:
            own = self._join(request.tenant)
        queue = own.levels.get(level)
        if queue is None:
            queue = own.levels[level] = OrderedDict()
        queue[request] = came_at
        self.count += 1
        if request.size_bytes > self._largest_bytes:
            self._largest_bytes = request.size_bytes

    def _join(self, tenant: str) -> _Own:
        if len(self._heap) > 2 * len(self._tenants) + 8:
            self._heap = [entry for entry in self._heap if entry[2].levels]
            heapify(self._heap)
        own = self._tenants[tenant] = _Own(tenant)
        self._joined += 1
        heappush(self._heap, (self.turns.join(tenant), self._joined, own))
        return own

    def remove(self, request: Request, level: int) -> bool:
        """Take a request out. Returns False if it is not here."""
        own = self._tenants.get(request.tenant)
        queue = own and own.levels.get(level)
        if own is None or queue is None or queue.pop(request, None) is None:
            return False
        self.shrunk(own, level)
        return True

    def next(self) -> _Own:
        """What the tenant has here whose turn it is. Somebody must be waiting."""
        if len(self._tenants) == 1:
            return next(iter(self._tenants.values()))
        heap = self._heap
        while True:
            start, number, own = heap[0]
            if not own.levels:
                heappop(heap)
            elif (now_at := self.turns.start(own.tenant)) > start:
                heapreplace(heap, (now_at, number, own))
            else:
                return own

    def shrunk(self, own: _Own, level: int, count: int = 1) -> None:
        """So many requests of a tenant's level have been taken out."""
        self.count -= count
        if own.levels[level]:
            return
        del own.levels[level]
        if not own.levels:
            del self._tenants[own.tenant]
            if not self._tenants:
                self._heap.clear()
                self._largest_bytes = 0

    def came_at(self) -> Iterator[float]:
        """Since when requests could run; the oldest is among these."""
        return (next(iter(queue.values())) for own in self._tenants.values() for queue in own.levels.values())

    def next_bytes(self, count: int) -> int:
        """The next so many requests have no more bytes than this."""
        if len(self._tenants) > 1:
            return count * self._largest_bytes
        return sum(
            request.size_bytes
            for own in self._tenants.values()
            for queue in own.levels.values()
            for request in islice(queue, count)
        )

    def ahead_of(self, level: int, tenant: str, now: float) -> int:
        """How many of a tenant's own would leave before one of this level that came now."""
        own = self._tenants.get(tenant)
        if own is None:
            return 0
        ahead = 0
        for other, queue in own.levels.items():
            if other >= level:
                ahead += len(queue)
                continue
            for came_at in queue.values():
                if came_at > now - (level - other) * _STEP_S:
                    break
                ahead += 1
        return ahead


class Lane:
    """What waits for one version, but for suspects.

    Args:
        version: the version.
        sync: whose turn it is among the synchronous requests of all lanes.
        jobs: the same among stored jobs.
    """

    __slots__ = ("jobs", "sync", "urgent", "version")

    def __init__(self, version: str | None, sync: Turns, jobs: Turns) -> None:
        self.version = version
        self.sync = Line(sync)
        self.jobs = Line(jobs)
        self.urgent: Counter[FlushReason] = Counter()

    def count(self, *, sync_only: bool = False) -> int:
        """How many wait that may leave."""
        return self.sync.count + (0 if sync_only else self.jobs.count)

    def next_bytes(self, count: int, *, sync_only: bool) -> int:
        """The next so many requests have no more bytes than this."""
        return sum(line.next_bytes(count) for line in self.lines(sync_only=sync_only))

    def lines(self, *, sync_only: bool = False) -> tuple[Line, ...]:
        """Those from which something may leave."""
        return (self.sync,) if sync_only else (self.jobs, self.sync)

    def line_of(self, request: Request) -> Line:
        """Where such a request waits."""
        return self.sync if request.level == SYNC else self.jobs

    def next_line(self, *, sync_only: bool) -> Line | None:
        """From which line the next request leaves; None: nothing may."""
        if sync_only or not self.jobs.count:
            return self.sync if self.sync.count else None
        if not self.sync.count or _has_aged(self.jobs.next(), self.sync.next(), self.sync.turns):
            return self.jobs
        return self.sync


def _has_aged(job: _Own, sync: _Own, turns: Turns) -> bool:
    """Whether a stored job leaves before a synchronous request, with whose tenant it takes turns then."""
    return job.rank() <= sync.rank() and turns.start(job.tenant) <= turns.start(sync.tenant)


def oldest(lines: Iterable[Line]) -> float | None:
    """Since when the request could run that has waited longest; None: none waits."""
    return min((came_at for line in lines for came_at in line.came_at()), default=None)


class Waiting:
    """Everything that waits in one queue.

    Attributes:
        lanes: by version. Those that are empty may be missing.
        suspects: those that share no batch, first come, first served.
        tally: how many of whom.
    """

    def __init__(self) -> None:
        self.lanes: dict[str | None, Lane] = {}
        self.suspects = Line(Turns())
        self.tally = Tally()
        self._sync, self._jobs = Turns(), Turns()

    def __len__(self) -> int:
        return self.tally.total

    def put(self, request: Request, came_at: float) -> None:
        """Add a request that could run since then."""
        self.tally.add(request.tenant)
        if request.suspect:
            self.suspects.put(request, came_at, 0)
            return
        lane = self.lanes.get(request.version)
        if lane is None:
            lane = self.lanes[request.version] = Lane(request.version, self._sync, self._jobs)
        level = request.level
        (lane.sync if level == SYNC else lane.jobs).put(request, came_at, level)
        if request.urgent:
            lane.urgent[request.urgent] += 1

    def remove(self, request: Request) -> bool:
        """Take a request out. Returns False if it does not wait here."""
        if request.suspect:
            found = self.suspects.remove(request, 0)
        else:
            lane = self.lanes.get(request.version)
            found = lane is not None and lane.line_of(request).remove(request, request.level)
            if found and lane and request.urgent:
                lane.urgent[request.urgent] -= 1
        if found:
            self.tally.add(request.tenant, -1)
        return found

    def clear_jobs(self) -> None:
        """Drop the stored jobs."""
        for line in (self.suspects, *(lane.jobs for lane in self.lanes.values())):
            for request in list(line):
                self.remove(request)

    def lines(self) -> list[Line]:
        """Every line there is."""
        return [self.suspects, *(line for lane in self.lanes.values() for line in lane.lines())]

    def __iter__(self) -> Iterator[Request]:
        return (request for line in self.lines() for request in line)

    def ahead_of(self, level: int, tenant: str, now: float) -> int:
        """How many of a tenant's own would leave before one of this level that came now."""
        lines = (line for lane in self.lanes.values() for line in lane.lines())
        ahead = sum(line.ahead_of(level, tenant, now) for line in lines)
        return ahead + self.suspects.ahead_of(0, tenant, now)

    def tidy(self, lane: Lane) -> None:
        """Remove a lane that is empty, unless it is the only one."""
        if len(self.lanes) > 1 and not lane.count():
            del self.lanes[lane.version]

    def clear(self) -> None:
        """Drop everything."""
        self.lanes.clear()
        self.suspects = Line(Turns())
        self.tally = Tally()

    def take_suspect(self) -> tuple[Request, float]:
        """Take out the suspect whose turn it is. There must be one."""
        suspects = self.suspects
        own = suspects.next()
        taken = own.levels[0].popitem(last=False)
        suspects.turns.begin(own.tenant)
        suspects.turns.charge(own.tenant, 1)
        suspects.shrunk(own, 0)
        self.tally.add(own.tenant, -1)
        return taken

    def first(self, lanes: Sequence[Lane], *, sync_only: bool) -> Lane:
        """Of these lanes, in each of which something waits, the one whose turn it is."""
        if len(lanes) == 1:
            return lanes[0]
        sync = _first((lane, lane.sync) for lane in lanes)
        job = None if sync_only else _first((lane, lane.jobs) for lane in lanes)
        if sync is not None and job is not None:
            return (job if _has_aged(job[1], sync[1], self._sync) else sync)[0]
        found = sync or job
        assert found is not None
        return found[0]

    def take(self, lane: Lane, count: int, *, most_bytes: int, sync_only: bool) -> Taken:
        """Take out the next requests of a lane, each with the time since when it could run.

        Args:
            lane: the lane.
            count: how many, at most.
            most_bytes: they have no more than this together, unless a single one does.
            sync_only: stored jobs stay.
        """
        taken: Taken = []
        before: Line | None = None
        fits = True
        while fits and len(taken) < count and (line := lane.next_line(sync_only=sync_only)) is not None:
            own = line.next()
            if line is not before:
                line.turns.begin(own.tenant)
                before = line
            level = own.first_level()
            queue = own.levels[level]
            is_alone = len(queue) == lane.count(sync_only=sync_only)  # there is nobody to take turns with
            popped, had = 0, len(taken)
            while fits and queue and len(taken) < count and (is_alone or not popped):
                size_bytes = next(iter(queue)).size_bytes
                fits = size_bytes <= most_bytes or not taken
                if fits:
                    request, came_at = queue.popitem(last=False)
                    popped += 1
                    if request.urgent:
                        lane.urgent[request.urgent] -= 1
                    if request.is_wanted():
                        taken.append((request, came_at))
                        most_bytes -= size_bytes
            if popped:
                self._popped(lane, line, own, level, popped, len(taken) - had)
        return taken

    def _popped(self, lane: Lane, line: Line, own: _Own, level: int, count: int, served: int) -> None:
        line.turns.charge(own.tenant, served)
        if line is not lane.sync and lane.sync.count:
            lane.sync.turns.charge(own.tenant, served)
        line.shrunk(own, level, count)
        self.tally.add(own.tenant, -count)


def _first(lines: Iterable[tuple[Lane, Line]]) -> tuple[Lane, _Own] | None:
    """The lane whose next request starts first, or ranks highest of those that start together."""
    waiting = [(lane, line.next(), line.turns) for lane, line in lines if line.count]
    if not waiting:
        return None
    lane, own, _ = min(waiting, key=lambda item: (item[2].start(item[1].tenant), item[1].rank()))
    return lane, own
