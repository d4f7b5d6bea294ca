"""Invariant 8, the longest: events are in the one order, over every transport, across reconnects.

Where events carry ids, nothing may be missing between the first and the last one that a watcher saw: one that
reconnects says after which id it wants to go on. Where the system keeps no events, so that there are no ids,
only the order within one connection can be judged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.faults.evidence import RANKS, TERMINAL, EventRow, Evidence
from tests.faults.history import EventSeen, History, ResultRead

Finding = tuple[str, str]


def stored_events(evidence: Evidence) -> Iterator[Finding]:
    """The truth that the others are compared with: one row per step, up to the end."""
    if not evidence.events:
        return
    rows: defaultdict[str, list[EventRow]] = defaultdict(list)
    for row in evidence.events:
        rows[row.job_id].append(row)
    for job in evidence.jobs:
        orders = [row.order for row in rows[job.job_id]]
        if twice := {order for order in orders if orders.count(order) > 1}:
            yield job.job_id, f"stored twice: {', '.join(map(_words, sorted(twice)))}"
        told = [row.status for row in rows[job.job_id] if row.status in TERMINAL]
        if job.status in TERMINAL and told != [job.status]:
            yield job.job_id, f"it is {job.status}, but the stored events say {told or 'nothing'}"


def job_streams(history: History, evidence: Evidence) -> Iterator[Finding]:
    """What each watcher of one job saw."""
    stored: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
    for row in evidence.events:
        stored[row.job_id].add(row.order)
    ends = {job.job_id: job.status for job in evidence.jobs if job.status in TERMINAL}
    for watcher, seen in _by_watcher(history, "job").items():
        job_id, who = seen[0].job_id, f"{watcher} over {seen[0].transport}"
        last = seen[-1]
        if last.status in TERMINAL and ends.get(job_id, last.status) != last.status:
            yield job_id, f"{who} was told that it is {last.status}, but it is {ends[job_id]}"
        for before, now in pairwise(seen):
            anew = now.event_id is None and now.connection != before.connection
            if order_of(now) <= order_of(before) and not anew:
                yield job_id, f"{who} saw {_words(order_of(now))} after {_words(order_of(before))}"
        if not evidence.events:
            continue
        orders = [order_of(event) for event in seen]
        for event, (attempt, rank) in zip(seen, orders, strict=True):
            if event.event_id != f"{attempt}.{rank}":
                yield job_id, f"{who} saw {_words((attempt, rank))} with the id {event.event_id}"
        expected = {order for order in stored[job_id] if min(orders) <= order <= max(orders)}
        if missed := sorted(expected - set(orders)):
            yield job_id, f"{who} missed {', '.join(map(_words, missed))}"
        if invented := sorted(set(orders) - expected):
            yield job_id, f"{who} saw {', '.join(map(_words, invented))}, which the database does not have"


def model_streams(history: History, evidence: Evidence) -> Iterator[Finding]:
    """What each watcher of a whole model saw."""
    for watcher, seen in _by_watcher(history, "model").items():
        who = f"{watcher} over {seen[0].transport}"
        latest: dict[str, EventSeen] = {}
        for event in seen:
            before = latest.get(event.job_id)
            anew = before is not None and event.event_id is None and event.connection != before.connection
            if before is not None and order_of(event) <= order_of(before) and not anew:
                yield event.job_id, f"{who} saw {_words(order_of(event))} after {_words(order_of(before))}"
            latest[event.job_id] = event
        if not evidence.events:
            continue
        if nameless := [event for event in seen if event.event_id is None]:
            yield nameless[0].job_id, f"{who} saw {len(nameless)} events without an id"
            continue
        ids = [tuple(map(int, (event.event_id or "").split("-"))) for event in seen]
        for before_id, now_id in pairwise(ids):
            if now_id <= before_id:
                yield watcher, f"{who} saw the id {now_id} after {before_id}"
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
