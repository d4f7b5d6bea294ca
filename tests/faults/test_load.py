"""The plan of a load, and the times to recover."""

import pytest

from tests.faults.evidence import Evidence, Features, JobRow, Transition
from tests.faults.history import Acknowledged, FaultInjected, History, Submitted
from tests.faults.load import Load, plan
from tests.faults.run import recovery

EVERYTHING = Features(keys=True, options=True, cancel=True, batch=True, sse=True, event_ids=True)


def test_the_same_seed_gives_the_same_plan():
    one, two, other = (plan(Load(), EVERYTHING, seed=seed, prefix="p") for seed in (1, 1, 2))
    assert one == two != other


def test_a_plan_has_some_of_everything():
    operations = plan(Load(), EVERYTHING, seed=1, prefix="p")
    assert len(operations) == len({operation.nonce for operation in operations}) == 300
    assert {o.data["op"] for o in operations} == {"echo", "sleep", "raise", "flaky"}
    assert {o.options["priority"] for o in operations} == set(range(10))
    assert {o.watch for o in operations} == {None, "poll", "ws", "sse"}
    for some in ("key", "delay_s", "resend", "conflict", "cancel_after_s", "hang_up_after_s", "batch"):
        assert any(getattr(operation, some) for operation in operations), some
    assert any("deadline_s" in operation.options for operation in operations)


def test_what_the_system_cannot_do_is_left_out():
    for operation in plan(Load(), Features(), seed=1, prefix="p"):
        assert operation.watch in (None, "poll", "ws")
        assert set(operation.body()) == {"model_name", "data"}
        assert (operation.key, operation.cancel_after_s, operation.batch) == (None, None, None)


@pytest.mark.parametrize("fault_at_s", [None, 100.0])
def test_recovery_is_measured_from_the_fault_to_what_was_recorded(fault_at_s):
    times = {"old": (98.0, 109.0), "new": (101.0, 104.0), "newer": (102.0, 105.0)}
    entries = [FaultInjected(name="f", at_s=fault_at_s)] if fault_at_s else []
    for send, (nonce, (at_s, _)) in enumerate(times.items()):
        entries.append(Submitted(send=send, nonce=nonce, key=None, body={}, at_s=at_s))
        entries.append(Acknowledged(send=send, nonce=nonce, job_id=nonce, at_s=at_s + 0.1))
    jobs = [
        JobRow(job_id=n, nonce=n, status="succeeded", attempt=1, max_attempts=3, created_at_s=at_s)
        for n, (at_s, _) in times.items()
    ]
    ends = [
        Transition(job_id=n, at_s=end_s, old_status="queued", status="succeeded")
        for n, (_, end_s) in times.items()
    ]
    found = recovery(History(entries), Evidence(taken_at_s=200.0, jobs=jobs, transitions=ends))
    assert found == ((4.0, 9.0) if fault_at_s else (0.0, 0.0))
