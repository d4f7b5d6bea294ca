"""Group commit: groups form by themselves, and one caller's fate is not another's."""

import asyncio

import pytest

from satellite.groupcommit import GroupCommit


class Writer:
    """Writes groups when told to."""

    def __init__(self):
        self.groups = []
        self.gate = asyncio.Event()

    async def __call__(self, items):
        self.groups.append(list(items))
        await self.gate.wait()
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]


async def test_what_waits_is_written_together_and_each_gets_its_own_result():
    writer = Writer()
    commit = GroupCommit(writer)
    first = asyncio.create_task(commit.submit("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the first group is being written now
    rest = [asyncio.create_task(commit.submit(x)) for x in "bcd"]
    await asyncio.sleep(0)
    writer.gate.set()
    assert await asyncio.gather(first, *rest) == ["A", "B", "C", "D"]
    assert writer.groups == [["a"], ["b", "c", "d"]]


async def test_a_cancelled_caller_breaks_nothing_and_its_item_is_written():
    writer = Writer()
    commit = GroupCommit(writer)
    tasks = [asyncio.create_task(commit.submit(x)) for x in "abc"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[1].cancel()
    writer.gate.set()
    assert await tasks[0] == "A"
    assert await tasks[2] == "C"
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    assert writer.groups == [["a", "b", "c"]]
    assert await commit.submit("d") == "D"


async def test_a_failed_group_fails_its_callers_and_the_next_goes_on():
    writer = Writer()
    commit = GroupCommit(writer)
    tasks = [asyncio.create_task(commit.submit(x)) for x in ("gone", "a", "bad")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()
    writer.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(r) for r in results] == [asyncio.CancelledError, ValueError, ValueError]
    assert await commit.submit("c") == "C"


async def test_groups_have_a_largest_size():
    writer = Writer()
    writer.gate.set()
    commit = GroupCommit(writer, max_items=2)
    await asyncio.gather(*(commit.submit(x) for x in "abcde"))
    assert [len(group) for group in writer.groups] == [2, 2, 1]


async def test_close_waits_for_what_was_submitted():
    writer = Writer()
    commit = GroupCommit(writer)
    task = asyncio.create_task(commit.submit("a"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(commit.close())
    await asyncio.sleep(0)
    assert not closing.done()
    writer.gate.set()
    await closing
    assert await task == "A"


async def test_what_follows_the_write_needs_no_caller():
    gate, followed = asyncio.Event(), []

    async def write(items):
        await gate.wait()
        return items

    group = GroupCommit(write)
    callers = [group.add(n, lambda n: followed.append(n) or -n) for n in range(3)]
    callers[1].cancel()
    gate.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert (answers[0], answers[2]) == (0, -2)
    assert isinstance(answers[1], asyncio.CancelledError)
    await group.close()
    assert followed == [0, 1, 2]


async def test_a_failure_of_what_follows_concerns_that_caller_alone(caplog):
    async def write(items):
        return items

    def then(n):
        if n:
            raise ValueError(n)
        return "good"

    group = GroupCommit(write)
    callers = [group.add(n, then) for n in range(3)]
    callers[2].cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert answers[0] == "good"
    assert isinstance(answers[1], ValueError)
    await group.close()
    assert "What follows a write failed." in caplog.text
