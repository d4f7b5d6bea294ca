"""What the clients did and were told, in the order in which they learned it: one half of the evidence.

An *operation* is one thing a client wants computed, named by its nonce. It may be sent several times (a
retry, a resend on purpose); each sending ends in exactly one of `Acknowledged`, `Refused`, `Unknown`.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that happened at a client."""

    at_s: float = field(default_factory=time.time)  # wall clock: compares with the database and the probe
    mono_s: float = field(default_factory=time.monotonic)  # for durations within the history


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted(Entry):
    """A submit is about to be sent."""

    send: int  # which sending; its end carries the same number
    nonce: str
    key: str | None  # the idempotency key
    body: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged(Entry):
    """202: the system has promised to run it."""

    send: int
    nonce: str
    job_id: str
    replayed: bool = False  # answered with `Idempotent-Replayed`


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Entry):
    """Any other answer: nothing was promised."""

    send: int
    nonce: str
    status: int
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(Entry):
    """The connection broke, or no answer came in time: it may have been accepted or not."""

    send: int
    nonce: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAnswered(Entry):
    """The answer to a cancel."""

    job_id: str
    asked_at_s: float
    status: int  # HTTP
    job_status: str | None = None
    started: bool | None = None  # whether the answer says that an attempt had started; None: it does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRead(Entry):
    """A job as one reader saw it."""

    job_id: str
    reader: str  # reads of one reader are in order
    status: str
    attempt: int
    result: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSeen(Entry):
    """An event of a job, over a WebSocket or SSE."""

    watcher: str  # one subscription, across all its connections
    transport: str  # "ws" or "sse"
    stream: str  # "job" or "model"
    connection: int  # rises with every reconnect
    event_id: str | None
    job_id: str
    status: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(Entry):
    """A watcher has connected, for the first time or again."""

    watcher: str
    transport: str
    connection: int
    after: str | None  # the id after which it asked to go on


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultInjected(Entry):
    """What was done to the system, for whoever reads the file."""

    name: str
    detail: str = ""


E = TypeVar("E", bound=Entry)


class History:
    """A list that only grows. Appending is atomic, from any task or thread."""

    def __init__(self, entries: list[Entry] | None = None) -> None:
        self._entries: list[Entry] = list(entries or [])

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)

    def of(self, kind: type[E]) -> Iterator[E]:
        """All entries of one kind, in order."""
        return (entry for entry in list(self._entries) if isinstance(entry, kind))

    def __len__(self) -> int:
        return len(self._entries)

    def write(self, path: Path) -> None:
        """One JSON object per line."""
        with path.open("w") as file:
            for entry in list(self._entries):
                file.write(json.dumps({"kind": type(entry).__name__, **dataclasses.asdict(entry)}) + "\n")
