"""A seeded load: what several hundred callers will do, decided before the first of them begins.

The same seed gives the same plan. What the system under test cannot do yet is left out of it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults.evidence import Features

MODEL = "probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much of what. Shares are of all jobs."""

    jobs: int = 300
    duration_s: float = 10.0
    sleeping: float = 0.25
    sleep_s: tuple[float, float] = (0.02, 0.15)
    raising: float = 0.02
    flaky: float = 0.03
    keyed: float = 0.6
    cancelled: float = 0.06
    deadlines: float = 0.05
    delayed: float = 0.05
    in_batches: float = 0.15
    hanging_up: float = 0.05
    watched: float = 0.4  # by poll, WebSocket or SSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one caller does."""

    nonce: str
    at_s: float  # after the load began
    data: dict[str, Any]
    key: str | None = None
    options: dict[str, Any]  # priority, deadline_s
    delay_s: float | None = None  # run_at, from when it is sent
    resend: bool = False  # once more after the acknowledgement, as a caller whose answer got lost
    conflict: bool = False  # then the same key with another body
    cancel_after_s: float | None = None
    hang_up_after_s: float | None = None  # the first sending is broken off this long after it was written
    watch: str | None = None  # "poll", "ws" or "sse"
    hang_ups: tuple[int, ...] = ()  # the watcher reconnects after so many events
    batch: int | None = None  # which batch submit it is part of

    def body(self) -> dict[str, Any]:
        """The body of its submit; made once, so that a resent one is the same."""
        body = {"model_name": MODEL, "data": self.data, **self.options}
        if self.delay_s is not None:
            body["run_at"] = (datetime.now(UTC) + timedelta(seconds=self.delay_s)).isoformat()
        return body


def plan(load: Load, features: Features, *, seed: int, prefix: str) -> list[Operation]:
    """All operations, in the order of their time.

    Args:
        load: how much of what.
        features: what the system can do.
        seed: the same one gives the same operations.
        prefix: of all nonces and keys, so that runs on one system do not meet.
    """
    rng = random.Random(seed)
    times = sorted(rng.uniform(0, load.duration_s) for _ in range(load.jobs))
    operations = [_operation(load, features, rng, f"{prefix}-{n}", at_s) for n, at_s in enumerate(times)]
    if features.batch:
        _gather(operations, round(load.jobs * load.in_batches), rng)
    return operations


def _operation(load: Load, features: Features, rng: random.Random, nonce: str, at_s: float) -> Operation:
    # Every draw is made in every case, so that one feature more does not change all that follows.
    draw = {name: rng.random() for name in ("op", "key", "again", "late", "cancel", "hang_up", "watch")}
    priority, seconds, pause = rng.randint(0, 9), rng.uniform(*load.sleep_s), rng.uniform(0, 0.3)
    transports = ["poll", "ws", *(["sse"] if features.sse else [])]
    transport, hang_ups = rng.choice(transports), rng.choice([(), (), (1,), (1, 2)])
    options: dict[str, Any] = {"priority": priority} if features.options else {}
    late = draw["late"] if features.options else 1.0
    if late < load.deadlines:
        options["deadline_s"] = round(2 + 20 * pause, 3)
    keyed = features.keys and draw["key"] < load.keyed
    return Operation(
        nonce=nonce,
        at_s=at_s,
        data=_data(load, nonce, draw["op"], seconds),
        key=f"key-{nonce}" if keyed else None,
        options=options,
        delay_s=10 * pause if load.deadlines <= late < load.deadlines + load.delayed else None,
        resend=keyed and draw["again"] < 0.3,
        conflict=keyed and 0.2 < draw["again"] < 0.4,
        cancel_after_s=pause if features.cancel and draw["cancel"] < load.cancelled else None,
        hang_up_after_s=pause / 30 if draw["hang_up"] < load.hanging_up else None,
        watch=transport if draw["watch"] < load.watched else None,
        hang_ups=hang_ups,
    )


def _data(load: Load, nonce: str, draw: float, seconds: float) -> dict[str, Any]:
    if draw < load.raising:
        return {"nonce": nonce, "op": "raise"}
    if draw < load.raising + load.flaky:
        return {"nonce": nonce, "op": "flaky"}
    if draw < load.raising + load.flaky + load.sleeping:
        return {"nonce": nonce, "op": "sleep", "seconds": round(seconds, 3)}
    return {"nonce": nonce, "op": "echo"}


def _gather(operations: list[Operation], count: int, rng: random.Random) -> None:
    """Turn runs of neighbours into batch submits, all with keys, so that a broken one can be sent again."""
    place, number = 0, 0
    while count > 0 and place < len(operations):
        size = min(rng.randint(2, 20), count, len(operations) - place)
        for index in range(place, place + size):
            operation = operations[index]
            operations[index] = replace(
                operation,
                batch=number,
                at_s=operations[place].at_s,
                key=f"key-{operation.nonce}",
                resend=False,
                conflict=False,
                hang_up_after_s=None,
            )
        count, number = count - size, number + 1
        place += size + rng.randint(10, 40)
