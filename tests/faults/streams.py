"""Invariant 8, the longest: events are in the one order, over every transport, across reconnects.

Where events carry ids, nothing may be missing between the first and the last one that a watcher saw: one that
reconnects says after which id it wants to go on. Without ids only the order can be judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.faults.evidence import RANKS, TERMINAL, EventRow, Evidence
from tests.faults.history import EventSeen, History, ResultRead

Finding = tuple[str, str]


def job_streams(history: History, evidence: Evidence) -> Iterator[Finding]:
    """What each watcher of one job saw."""
    truth: defaultdict[str, list[EventRow]] = defaultdict(list)
    for row in evidence.events:
        truth[row.job_id].append(row)
    ends = {job.job_id: job.status for job in evidence.jobs if job.status in TERMINAL}
    for watcher, seen in _by_watcher(history, "job").items():
        job_id, who = seen[0].job_id, f"{watcher} over {seen[0].transport}"
        orders = [order_of(event) for event in seen]
        for before, now in pairwise(seen):
            # Without ids a new connection begins with the job as it is now, known or not.
            known = now.event_id is None and now.connection != before.connection
            if order_of(now) <= order_of(before) and not (known and order_of(now) == order_of(before)):
                yield job_id, f"{who} saw {_words(order_of(now))} after {_words(order_of(before))}"
        last = seen[-1]
        if last.status in TERMINAL and ends.get(job_id, last.status) != last.status:
            yield job_id, f"{who} was told that it is {last.status}, but it is {ends[job_id]}"
        if any(event.event_id is None for event in seen):
            continue
        for event, (attempt, rank) in zip(seen, orders, strict=True):
            if event.event_id != f"{attempt}.{rank}":
                yield job_id, f"{who} saw {_words((attempt, rank))} with the id {event.event_id}"
        expected = sorted(row.order for row in truth[job_id] if min(orders) <= row.order <= max(orders))
        if missed := sorted(set(expected) - set(orders)):
            yield job_id, f"{who} missed {', '.join(map(_words, missed))}"
        if invented := sorted(set(orders) - set(expected)):
            yield job_id, f"{who} saw {', '.join(map(_words, invented))}, which the database does not have"


def model_streams(history: History, evidence: Evidence) -> Iterator[Finding]:
    """What each watcher of a whole model saw."""
    for watcher, seen in _by_watcher(history, "model").items():
        who = f"{watcher} over {seen[0].transport}"
        latest: dict[str, tuple[int, int]] = {}
        for event in seen:
            order = order_of(event)
            if order <= latest.get(event.job_id, (0, -1)):
                yield event.job_id, f"{who} saw {_words(order)} after {_words(latest[event.job_id])}"
            latest[event.job_id] = order
        if any(event.event_id is None for event in seen):
            continue
        ids = [tuple(map(int, event.event_id.split("-"))) for event in seen]
        for before, now in pairwise(ids):
            if now <= before:
                yield watcher, f"{who} saw id {now} after {before}"
        told = set(ids)
        for row in evidence.events:
            place = (row.xid, row.seq)
            if min(ids) <= place <= max(ids) and place not in told:
                yield row.job_id, f"{who} missed {_words(row.order)} (id {row.stream_id})"


def reads_go_forward(history: History) -> Iterator[Finding]:
    """A reader that polls never sees a job go back."""
    latest: dict[tuple[str, str], tuple[int, int]] = {}
    for read in history.of(ResultRead):
        if read.status == "missing":
            continue  # see invariant 1
        order = (read.attempt, RANKS[read.status])
        before = latest.get((read.reader, read.job_id), (0, -1))
        if order < before:
            yield read.job_id, f"{read.reader} read {_words(order)} after {_words(before)}"
        latest[read.reader, read.job_id] = order


def order_of(event: EventSeen) -> tuple[int, int]:
    """Where the event stands among those of its job."""
    return event.attempt, RANKS[event.status]


def _by_watcher(history: History, stream: str) -> dict[str, list[EventSeen]]:
    found: defaultdict[str, list[EventSeen]] = defaultdict(list)
    for event in history.of(EventSeen):
        if event.stream == stream:
            found[event.watcher].append(event)
    return found


def _words(order: tuple[int, int]) -> str:
    return f"{('queued', 'running', 'its end')[order[1]]} of attempt {order[0]}"
