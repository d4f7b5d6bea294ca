"""The checker of `tests/faults` on a real paused owner: silent with the fence, loud without it.

An ingress takes a job, falls silent for longer than its lease while its replica computes, and completes late.
"""

import asyncio
import re
import time
from dataclasses import replace
from uuid import UUID

import pytest

from satellite import lease
from satellite.store import queries
from tests.faults.checker import check
from tests.faults.evidence import AUDIT, change_schema, collect, find_features
from tests.faults.history import Acknowledged, History, ResultRead, Submitted

from .conftest import MODEL
from .test_api import RESULT, SUBMIT

# A condition of a WHERE on the attempt, the owner or the state, however it is spelled.
FENCE = re.compile(
    r"\bAND\s+\w+\.(attempt|owner|status|finished_at)\s*"
    r"(?:=|IN\b|IS\s+NOT\s+DISTINCT\s+FROM\b|IS\b(?!\s+NOT\b))\s*(?:\([^)]*\)|[\w.$]+)"
)
NONCE = 7.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A lease short enough to wait for."""
    for name, seconds in {"LEASE_S": 1.0, "HEARTBEAT_S": 0.1, "GRACE_S": 0.5, "MARGIN_S": 0.1}.items():
        monkeypatch.setattr(lease, name, seconds, raising=False)


def fall_silent(node):
    """No heartbeat from here on, as after a SIGSTOP; what it computes goes on."""
    held = getattr(node.service, "lease", None) or node.service._lease
    held._keeper.cancel()


def remove_conditions(monkeypatch, *columns):
    """Take the conditions on these columns out of the statement that completes jobs."""
    found = {match.group(1) for match in FENCE.finditer(queries.COMPLETE_JOBS)}
    assert found >= set(columns), f"the fence reads differently now:\n{queries.COMPLETE_JOBS}"
    statement = FENCE.sub(lambda m: "" if m.group(1) in columns else m.group(0), queries.COMPLETE_JOBS)
    monkeypatch.setattr(queries, "COMPLETE_JOBS", statement)


# The schema is changed before the ingresses start: it takes locks that their own statements would wait for.


@pytest.fixture
async def audited(db):
    """A database that tells of every step."""
    await change_schema(db, AUDIT)


@pytest.fixture
async def unguarded(db):
    """Nothing in the database guards what has ended."""
    for trigger in await db.fetch(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'jobs'::regclass AND NOT tgisinternal"
    ):
        await change_schema(db, f"DROP TRIGGER {trigger['tgname']} ON jobs")


def compute_behind_the_gate(node):
    """As a real replica does: a batch that is held has begun already."""
    send = node.replica

    async def begun_first(chunks):
        began_s = time.time()
        return [replace(result, started_at_s=began_s) for result in await send(chunks)]

    node.service.queues[MODEL]._send = begun_first


async def state_of(db, job_id):
    return tuple(await db.fetchrow("SELECT status::text, attempt FROM jobs WHERE id = $1", UUID(job_id)))


async def until(db, job_id, *states):
    async with asyncio.timeout(15):
        while (state := await state_of(db, job_id)) not in states:
            await asyncio.sleep(0.02)
    return state


async def pause_and_complete_late(nodes, db, *, after_the_end):
    """Run it.

    Args:
        nodes: two ingresses; the first one falls silent.
        db: their database.
        after_the_end: the late completion comes after the second ingress's own; else while it computes.

    Returns:
        The violations.
    """
    one, two = nodes
    since_s, history = time.time(), History()
    for node in nodes:
        node.replica.gate.clear()
        compute_behind_the_gate(node)
    body = {"model_name": MODEL, "data": [NONCE] * 4, "config": {"forecast_steps": 2}}
    history.add(Submitted(send=1, nonce=str(NONCE), key=None, body=body))
    job_id = (await one.http.post(SUBMIT, json=body)).json()["job_id"]
    history.add(Acknowledged(send=1, nonce=str(NONCE), job_id=job_id))
    await until(db, job_id, ("running", 1))
    fall_silent(one)
    await until(db, job_id, ("running", 2))
    order = [two, one] if after_the_end else [one, two]
    for node in order:
        node.replica.gate.set()
        await asyncio.sleep(0.5)  # whether it is recorded or not
    await until(db, job_id, ("succeeded", 1), ("succeeded", 2))
    answer = (await two.http.get(f"{RESULT}/{job_id}")).json()
    history.add(
        ResultRead(
            job_id=job_id,
            reader="reader",
            status=answer["status"],
            attempt=answer["attempt"],
            result={"nonce": str(answer["result"]["forecast"][0])},
        )
    )
    features = await find_features(db, set())
    return check(history, await collect(db, since_s, features, MODEL))


@pytest.mark.parametrize("after_the_end", [True, False], ids=["after the end", "while it runs again"])
async def test_with_the_fence_there_is_nothing_to_report(audited, nodes, db, after_the_end):
    assert await pause_and_complete_late(nodes, db, after_the_end=after_the_end) == []


@pytest.mark.parametrize("after_the_end", [True, False], ids=["after the end", "while it runs again"])
async def test_without_fence_and_guard_a_finished_job_changes(
    unguarded, audited, nodes, db, monkeypatch, after_the_end
):
    remove_conditions(monkeypatch, "attempt", "owner", "finished_at")
    violations = await pause_and_complete_late(nodes, db, after_the_end=after_the_end)
    assert {v.invariant for v in violations} >= {2, 3}, violations


async def test_without_the_fence_alone_a_stale_owner_s_result_counts(audited, nodes, db, monkeypatch):
    """Nothing is recorded twice, but what is recorded belongs to an attempt that was over."""
    remove_conditions(monkeypatch, "attempt", "owner")
    violations = await pause_and_complete_late(nodes, db, after_the_end=False)
    assert any(v.invariant == 3 and "stale owner" in v.facts for v in violations), violations
