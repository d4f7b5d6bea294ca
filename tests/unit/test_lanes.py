"""In which order requests leave: by rank, and by version."""

import asyncio

import pytest

from satellite.batching import FlushReason
from satellite.jobs import PRIORITY_STEP

from .queues import WINDOW_S, Clock, Replicas, Request, close_queues, data_of, filled, queue_for


@pytest.fixture(autouse=True)
async def _close():
    yield
    await close_queues()


async def test_the_most_urgent_leave_first_and_equals_in_order():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas)
    queue.put(Request("first", flush=True))
    await replicas.count(1)
    for level in (4, 0, 9, 4, 9, 7):
        queue.put(Request((level, len(queue)), level=level))
    assert [queue.ahead_of(level, "default") for level in (10, 9, 8, 7, 4, 0)] == [0, 2, 2, 3, 5, 6]
    replicas.gates[0].set()
    await replicas.count(2)
    computed = [data for data, _ in replicas.chunks[1].items]
    assert computed == [(9, 2), (9, 4), (7, 5), (4, 0), (4, 3), (0, 1)]


async def test_the_least_urgent_is_overtaken_only_by_what_comes_within_nine_steps_after_it():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas)
    queue.put(Request("first", flush=True))
    await replicas.count(1)
    step_s = PRIORITY_STEP.total_seconds()
    queue.put(Request("lowest", level=0), waited_s=100 * step_s)
    queue.put(Request("within", level=9), waited_s=91.5 * step_s)
    assert queue.ahead_of(9, "default") == 2
    for number in range(20):  # however many there are
        queue.put(Request(number, level=9), waited_s=(90.5 - number) * step_s)
    replicas.gates[0].set()
    await replicas.count(2)
    assert [data for data, _ in replicas.chunks[1].items] == ["within", "lowest", *range(6)]


async def test_how_many_come_before_a_new_one():
    clock = Clock()
    queue, _ = await filled(
        [
            (Request(i, level=level), waited_s)
            for i, (level, waited_s) in enumerate(
                [(9, 0), (4, 0), (4, 0), (0, 130), (0, 125), (0, 0), (3, 29)]
            )
        ],
        clock=clock,
    )
    assert queue.ahead_of(9, "default") == 1
    assert queue.ahead_of(4, "default") == 5  # 9, both 4, and the two old ones
    assert queue.ahead_of(0, "default") == 7


async def test_batches_are_of_one_version_and_still_fill():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas, window_s=60)
    queue.set_replicas(3)
    for i in range(8):
        for version in ("1", "2", "3"):
            queue.put(Request((version, i), version=version))
    await replicas.count(3)
    assert replicas.sizes == [8, 8, 8]
    for chunk in replicas.chunks:
        assert [data for data, _ in chunk.items] == [(chunk.version, i) for i in range(8)]
    assert len(queue) == 0


async def test_a_full_batch_does_not_wait_for_those_of_other_versions():
    replicas = Replicas()
    queue = queue_for(replicas, window_s=60)
    early = Request("early", version="1")
    queue.put(early)
    await asyncio.sleep(0.01)
    for i in range(8):
        queue.put(Request(i, version="2"))
    await replicas.count(1)
    assert (replicas.chunks[0].version, replicas.sizes) == ("2", [8])
    assert not early.started


async def test_each_version_has_its_own_window():
    replicas = Replicas()
    queue = queue_for(replicas)
    first, second = Request("a", version="1"), Request("b", version="2")
    queue.put(first)
    await asyncio.sleep(WINDOW_S / 2)
    queue.put(second)
    _, batch = await first.done
    assert batch.flush_reason is FlushReason.TIMER
    assert not second.started
    _, batch = await second.done
    assert batch.flush_reason is FlushReason.TIMER


async def test_a_version_with_few_requests_is_not_starved_by_one_with_many():
    clock = Clock()
    replicas = Replicas(hold=True)
    queue = queue_for(replicas, size=2, window_s=1, clock=clock)
    for i in range(6):
        queue.put(Request(f"old {i}", version="many"))
    await replicas.count(2)  # one runs, one is ready
    clock.now += 0.5
    queue.put(Request("rare", version="few"))
    clock.now += 2
    for i in range(6):
        queue.put(Request(f"new {i}", version="many"))
    for finished in range(3):
        replicas.gates[finished].set()
        await replicas.count(finished + 3)
    assert data_of(replicas)[2:5] == [["old 4", "old 5"], ["rare"], ["new 0", "new 1"]]


async def test_a_suspect_keeps_its_version_and_what_waits_is_counted_over_all():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas, window_s=60)
    queue.put(Request("suspect", version="2", suspect=True))
    for version in ("1", "2"):
        queue.put(Request(version, version=version))
    assert (len(queue), queue.ahead_of(4, "default")) == (3, 3)
    await replicas.count(1)
    assert (replicas.chunks[0].version, replicas.chunks[0].alone) == ("2", True)
    queue.clear_jobs()
    assert len(queue) == 0
