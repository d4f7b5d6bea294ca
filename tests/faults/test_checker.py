"""The checker itself: for every invariant a run that keeps it and runs that break it, made by hand."""

from dataclasses import replace

import pytest

from tests.faults.checker import MAX_OVERTAKEN, check, lost, recorded_twice
from tests.faults.evidence import (
    EventRow,
    Evidence,
    JobRow,
    KeyRow,
    Message,
    ProbeRun,
    ResultSeen,
    Transition,
)
from tests.faults.history import (
    Acknowledged,
    CancelAnswered,
    EventSeen,
    History,
    Refused,
    ResultRead,
    Submitted,
)

NOW = 1000.0


def job(number=1, **fields):
    row = JobRow(
        job_id=f"job-{number}",
        nonce=f"n{number}",
        status="succeeded",
        attempt=1,
        max_attempts=3,
        created_at_s=10.0,
        started_at_s=11.0,
        finished_at_s=12.0,
        result_nonce=f"n{number}",
        owner="A",
        model_version="1.0.0",
        batch_id=f"b{number}",
        batch_size=1,
    )
    return replace(row, **fields)


def change(number=1, old="queued", new="succeeded", **fields):
    row = Transition(job_id=f"job-{number}", at_s=12.0, old_status=old, status=new, old_owner="A", owner="A")
    return replace(row, **fields)


def submit(send=1, nonce="n1", key=None, **body):
    return Submitted(send=send, nonce=nonce, key=key, body={"nonce": nonce, **body})


def ack(send=1, nonce="n1", job_id="job-1"):
    return Acknowledged(send=send, nonce=nonce, job_id=job_id)


def read(status="succeeded", attempt=1, nonce="n1", reader="r", job_id="job-1"):
    result = {"nonce": nonce} if status == "succeeded" else None
    return ResultRead(job_id=job_id, reader=reader, status=status, attempt=attempt, result=result)


def batch(*nonces, kind="batch", at_s=11.0, pid=1, instance="i", op="echo", version="1.0.0"):
    ops = (op,) * len(nonces)
    return ProbeRun(kind=kind, at_s=at_s, pid=pid, instance=instance, version=version, nonces=nonces, ops=ops)


def seen(status, attempt=1, event_id="", connection=1, stream="job", job_id="job-1"):
    rank = {"queued": 0, "running": 1}.get(status, 2)
    return EventSeen(
        watcher="w",
        transport="ws",
        stream=stream,
        connection=connection,
        event_id=f"{attempt}.{rank}" if event_id == "" else event_id,
        job_id=job_id,
        status=status,
        attempt=attempt,
    )


def event(status, attempt=1, xid=1, seq=1, job_id="job-1"):
    return EventRow(job_id=job_id, model_name="probe", status=status, attempt=attempt, xid=xid, seq=seq)


STEPS = [event("queued", seq=1), event("running", xid=2, seq=2), event("succeeded", xid=2, seq=3)]


def evidence(**parts):
    return Evidence(taken_at_s=NOW, **parts)


def cancelled(**fields):
    answer = CancelAnswered(
        job_id="job-1", asked_at_s=11.0, at_s=11.1, status=200, job_status="cancelled", started=False
    )
    return replace(answer, **fields)


CANCELLED = {"status": "cancelled", "started_at_s": None, "result_nonce": None, "batch_id": None}
# Another job of the same nonce.
TWIN = job(2, nonce="n1", result_nonce="n1")
# A backlog in the order of the ranks, the last of which is started first.
BACKLOG = [job(i, rank_at_s=10.0 + i, started_at_s=500.0 + i, finished_at_s=900.0) for i in range(200)]
SLOW = replace(BACKLOG[0], started_at_s=900.0, priority=0)

# (name, history, evidence): nothing to report.
KEPT = [
    ("1: ended", [submit(), ack()], evidence(jobs=[job()], transitions=[change()])),
    ("1: refused, not there", [submit(), Refused(send=1, nonce="n1", status=503, code="x")], evidence()),
    ("1: never acknowledged, ended", [submit()], evidence(jobs=[job()])),
    ("1: raises, failed", [ack()], evidence(jobs=[job(op="raise", status="failed", result_nonce=None)])),
    ("2: read twice, the same", [ack(), read(), read()], evidence(jobs=[job()], transitions=[change()])),
    (
        "3: a second attempt",
        [],
        evidence(
            jobs=[job(attempt=2, started_at_s=30.0)],
            transitions=[
                change(old="running", new="queued", attempt=2, at_s=20.0),
                change(old="queued", old_attempt=2, attempt=2, at_s=31.0),
            ],
        ),
    ),
    (
        "3: queued ones change hands within their attempt",
        [],
        evidence(
            jobs=[job()], transitions=[change(new="queued", owner="B"), change(owner="B", old_owner="B")]
        ),
    ),
    (
        "4: sent twice, one id",
        [submit(1, key="k"), submit(2, key="k"), ack(1), ack(2)],
        evidence(jobs=[job()], keys=[KeyRow(key="k", job_id="job-1")]),
    ),
    (
        "4: another body, 409",
        [
            submit(1, key="k"),
            ack(1),
            submit(2, nonce="other", key="k"),
            Refused(send=2, nonce="other", status=409, code="idempotency_conflict"),
        ],
        evidence(jobs=[job()]),
    ),
    ("5: its own nonce", [ack(), read()], evidence(jobs=[job()], runs=[batch("n1")])),
    ("6: never ran", [cancelled()], evidence(jobs=[job(**CANCELLED)], runs=[batch("n2")])),
    (
        "6: its first attempt ran, the second was cancelled",
        [cancelled()],
        evidence(jobs=[job(**CANCELLED, attempt=2)], runs=[batch("n1", at_s=5.0)]),
    ),
    (
        "6: its first attempt ran between the question and the answer",
        [cancelled()],
        evidence(jobs=[job(**CANCELLED, attempt=2)], runs=[batch("n1", at_s=11.05)]),
    ),
    (
        "6: it had started",
        [cancelled(started=True)],
        evidence(jobs=[job(**CANCELLED)], runs=[batch("n1", at_s=11.05)]),
    ),
    (
        "7: dead after the last",
        [],
        evidence(
            jobs=[job(op="exit", status="dead", attempt=3, result_nonce=None)],
            runs=[batch("n1", pid=pid, op="exit") for pid in (1, 2, 3)],
        ),
    ),
    ("8: all of it", [seen("queued"), seen("running"), seen("succeeded")], evidence(events=STEPS)),
    ("8: joined late", [seen("running"), seen("succeeded")], evidence(events=STEPS)),
    ("8: goes on", [seen("queued"), seen("running", connection=2)], evidence(events=STEPS)),
    (
        "8: without ids a new connection begins anew",
        [seen("running", event_id=None), seen("queued", event_id=None, connection=2)],
        evidence(),
    ),
    (
        "8: a model's stream",
        [
            seen("queued", stream="model", event_id="1-1"),
            seen("running", stream="model", event_id="2-2"),
            seen("succeeded", stream="model", event_id="2-3", connection=2),
        ],
        evidence(events=STEPS),
    ),
    ("8: reads go forward", [ack(), read("queued"), read("running"), read()], evidence(jobs=[job()])),
    (
        "9: committed after the insert",
        [],
        evidence(
            keys=[KeyRow(key="m", job_id="job-1")],
            messages=[Message(partition=0, offset=o, key="m", committed=True) for o in (1, 2)],
        ),
    ),
    (
        "9: it left, twice",
        [],
        evidence(jobs=[job()], results=[ResultSeen(job_id="job-1", status="succeeded", nonce="n1")] * 2),
    ),
    ("9: neither", [], evidence(messages=[Message(partition=0, offset=1, key="m", committed=False)])),
    (
        "10: claimed in time",
        [],
        evidence(
            jobs=[job(owner="B")],
            transitions=[
                change(new="queued", owner="B", at_s=28.0),
                change(old_owner="B", owner="B", at_s=29.0),
            ],
            heartbeats={"A": 10.0},
        ),
    ),
    ("10: not due yet", [], evidence(jobs=[job(status="queued", run_at_s=NOW - 1)])),
    (
        "11: eight of one version",
        [],
        evidence(
            jobs=[job(i, batch_id="b", batch_size=8) for i in range(8)],
            runs=[batch(*(f"n{i}" for i in range(8)))],
        ),
    ),
    ("11: closed after its last batch", [], evidence(runs=[batch("a"), batch(kind="close", at_s=12.0)])),
    (
        "12: asked for a time that had passed",
        [],
        evidence(jobs=[replace(SLOW, created_at_s=899.0), *BACKLOG[1:]]),
    ),
    ("12: in order", [], evidence(jobs=BACKLOG)),
    (
        "12: it waited for a lease to run out",
        [],
        evidence(
            jobs=[SLOW, *BACKLOG[1:]],
            transitions=[change(0, new="queued", owner="B", at_s=899.0)],
        ),
    ),
]

# (invariant, name, history, evidence): exactly this one is reported.
BROKEN = [
    (1, "gone", [submit(), ack()], evidence()),
    (1, "never ended", [ack()], evidence(jobs=[job(status="running", created_at_s=NOW - 5)])),
    (1, "failed without a reason", [ack()], evidence(jobs=[job(status="failed", result_nonce=None)])),
    (1, "cancelled by nobody", [ack()], evidence(jobs=[job(**CANCELLED)])),
    (1, "not found", [ack(), read("missing")], evidence(jobs=[job()])),
    (2, "read as another", [ack(), read("failed"), read(reader="s")], evidence(jobs=[job()])),
    (2, "read, then changed", [ack(), read("failed")], evidence(jobs=[job()])),
    (
        3,
        "a stale owner's result",
        [],
        evidence(
            jobs=[job(attempt=2, started_at_s=11.0)],
            transitions=[change(old="running", new="queued", attempt=2, at_s=20.0)],
        ),
    ),
    (3, "attempts fall", [], evidence(transitions=[change(new="queued", old_attempt=2, attempt=1)])),
    (3, "an attempt is left out", [], evidence(transitions=[change(new="queued", attempt=3)])),
    (3, "no new attempt", [], evidence(transitions=[change(old="running", new="queued", owner="B")])),
    (
        4,
        "two ids",
        [submit(1, key="k"), submit(2, key="k"), ack(1), ack(2, job_id="job-2")],
        evidence(jobs=[job(1), TWIN]),
    ),
    (
        4,
        "two bodies",
        [submit(1, key="k"), ack(1), submit(2, nonce="other", key="k"), ack(2, nonce="n1")],
        evidence(jobs=[job()]),
    ),
    (
        4,
        "409 for the same body",
        [
            submit(1, key="k"),
            submit(2, key="k"),
            Refused(send=2, nonce="n1", status=409, code="idempotency_conflict"),
        ],
        evidence(),
    ),
    (
        4,
        "a second job that nobody was told of",
        [submit(1, key="k")],
        evidence(jobs=[job(1), TWIN]),
    ),
    (5, "another's result", [ack()], evidence(jobs=[job(result_nonce="n2")])),
    (5, "another's result was read", [ack(), read(nonce="n2")], evidence(jobs=[job()])),
    (5, "another's input", [ack(nonce="n7")], evidence(jobs=[job()])),
    (5, "made up", [ack()], evidence(jobs=[job()], runs=[batch("n2")])),
    (6, "ran all the same", [cancelled()], evidence(jobs=[job(**CANCELLED)], runs=[batch("n1", at_s=11.5)])),
    (
        6,
        "ran once more",
        [cancelled()],
        evidence(jobs=[job(**CANCELLED, attempt=2)], runs=[batch("n1", at_s=5.0), batch("n1", at_s=11.5)]),
    ),
    (6, "ran to its end", [cancelled()], evidence(jobs=[job(started_at_s=10.5)])),
    (7, "one attempt too many", [], evidence(jobs=[job(attempt=4)])),
    (7, "buried too early", [], evidence(jobs=[job(status="dead", attempt=2, result_nonce=None)])),
    (
        7,
        "a crash that was not counted",
        [],
        evidence(
            jobs=[job(op="exit", status="dead", attempt=3, result_nonce=None)],
            runs=[batch("n1", pid=pid, op="exit") for pid in range(4)],
        ),
    ),
    (8, "backwards", [seen("running"), seen("queued")], evidence(events=STEPS)),
    (8, "twice", [seen("queued"), seen("queued", connection=2)], evidence(events=STEPS)),
    (8, "a gap after a reconnect", [seen("queued"), seen("succeeded", connection=2)], evidence(events=STEPS)),
    (8, "another id", [seen("queued", event_id="7.0")], evidence(events=STEPS)),
    (8, "an event of no transition", [seen("queued"), seen("queued", attempt=2)], evidence(events=STEPS)),
    (8, "no id, though there are events", [seen("queued", event_id=None)], evidence(events=STEPS)),
    (8, "a step stored twice", [], evidence(jobs=[job()], events=[*STEPS, event("queued", seq=9)])),
    (8, "an end not stored", [], evidence(jobs=[job()], events=STEPS[:2])),
    (8, "backwards without ids", [seen("running", event_id=None), seen("queued", event_id=None)], evidence()),
    (8, "another end", [seen("failed", event_id=None)], evidence(jobs=[job()])),
    (
        8,
        "a gap in a model's stream",
        [
            seen("queued", stream="model", event_id="1-1"),
            seen("succeeded", stream="model", event_id="2-3", connection=2),
        ],
        evidence(events=STEPS),
    ),
    (8, "a reader is sent back", [ack(), read(), read("running")], evidence(jobs=[job()])),
    (
        9,
        "committed too early",
        [],
        evidence(messages=[Message(partition=0, offset=1, key="m", committed=True)]),
    ),
    (9, "never left", [], evidence(jobs=[job()], results=[])),
    (
        9,
        "left as another",
        [],
        evidence(jobs=[job()], results=[ResultSeen(job_id="job-1", status="succeeded", nonce="n2")]),
    ),
    (
        9,
        "two jobs",
        [],
        evidence(
            keys=[KeyRow(key="m", job_id="job-1"), KeyRow(key="m", job_id="job-2")],
            messages=[Message(partition=0, offset=1, key="m", committed=True)],
        ),
    ),
    (
        10,
        "claimed late",
        [],
        evidence(
            jobs=[job(owner="B")],
            transitions=[
                change(new="queued", owner="B", at_s=60.0),
                change(old_owner="B", owner="B", at_s=61.0),
            ],
            heartbeats={"A": 10.0},
        ),
    ),
    (10, "left alone", [], evidence(jobs=[job(status="queued")])),
    (11, "nine", [], evidence(runs=[batch(*"abcdefghi")])),
    (11, "nine rows", [], evidence(jobs=[job(i, batch_id="b") for i in range(9)])),
    (
        11,
        "two versions",
        [],
        evidence(jobs=[job(1, batch_id="b"), job(2, batch_id="b", model_version="2.0.0")]),
    ),
    (11, "not the version that ran", [], evidence(jobs=[job()], runs=[batch("n1", version="2.0.0")])),
    (11, "a closed model", [], evidence(runs=[batch(kind="close"), batch("a", at_s=12.0)])),
    (12, "starved", [], evidence(jobs=[SLOW, *BACKLOG[1:]])),
]


@pytest.mark.parametrize(("history", "found"), [case[1:] for case in KEPT], ids=[case[0] for case in KEPT])
def test_what_is_kept_is_not_reported(history, found):
    assert check(History(history), found) == []


@pytest.mark.parametrize(
    ("invariant", "history", "found"),
    [(number, history, found) for number, _, history, found in BROKEN],
    ids=[f"{number}: {name}" for number, name, *_ in BROKEN],
)
def test_what_is_broken_is_reported(invariant, history, found):
    violations = check(History(history), found)
    assert {v.invariant for v in violations} == {invariant}
    assert all(v.job and v.facts for v in violations)


def test_a_second_end_breaks_two_invariants():
    """A finished job that changes is a terminal state that changed, and a second result."""
    found = evidence(jobs=[job()], transitions=[change(), change(old="succeeded")])
    assert {v.invariant for v in check(History([ack()]), found)} == {2, 3}


def test_every_invariant_has_a_case_of_both_kinds():
    assert {int(name.split(":")[0]) for name, *_ in KEPT} == set(range(1, 13))
    assert {number for number, *_ in BROKEN} == set(range(1, 13))


def test_losses_and_duplicates_are_counted():
    history = History([ack(), ack(job_id="job-2", nonce="n2"), submit(key="k")])
    found = evidence(
        jobs=[job(1), job(3, nonce="n1", result_nonce="n1")], transitions=[change(), change(old="succeeded")]
    )
    assert lost(history, found) == {"job-2"}
    assert recorded_twice(history, found) == {"job-1", "n1"}


def test_a_little_overtaking_is_no_starvation():
    late = replace(SLOW, started_at_s=BACKLOG[MAX_OVERTAKEN].started_at_s + 0.5)
    assert check(History(), evidence(jobs=[late, *BACKLOG[1:]])) == []
