"""The queue of one model: when batches leave, what is in them, and what happens when a replica fails."""

import asyncio

import pytest

from satellite.batching import Chunk, ChunkResult, FlushReason, Outcome
from satellite.config import Batching
from satellite.dispatch import ModelQueue
from satellite.errors import ModelFailed, QueueFull, ReplicaDied
from satellite.jobs import PRIORITY_STEP

WINDOW_S = 0.05


class Request:
    def __init__(self, data, *, flush=False, suspect=False, level=4):
        self.data, self.config, self.level, self.suspect = data, {}, level, suspect
        self.urgent = FlushReason.FLUSH if flush is True else flush or None
        self.wanted = True
        self.fill_s = None
        self.started = False
        self.done = asyncio.get_running_loop().create_future()

    def is_wanted(self):
        return self.wanted

    def dispatched(self, fill_s):
        self.started = True
        self.fill_s = fill_s

    def finished(self, outcome, batch):
        self.done.set_result((outcome, batch))


class Replicas:
    """Takes chunks; each call returns when it is let go."""

    def __init__(self, *, hold=False):
        self.chunks: list[Chunk] = []
        self.arrived = asyncio.Condition()
        self.gates: list[asyncio.Event] = []
        self.hold = hold
        self.failure = None
        self.outcomes = {}

    async def __call__(self, chunk):
        gate = asyncio.Event()
        self.gates.append(gate)
        async with self.arrived:
            self.chunks.append(chunk)
            self.arrived.notify_all()
        if self.hold:
            await gate.wait()
        if self.failure:
            raise self.failure
        return ChunkResult(
            outcomes=[self.outcomes.get(data, Outcome(output=str(data).encode())) for data, _ in chunk.items],
            model_version="1",
            replica_id="r",
            batch_id="b",
            batch_size=len(chunk.items),
            started_at_s=0,
            compute_s=0,
        )

    async def count(self, n):
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.chunks) >= n), 5)

    @property
    def sizes(self):
        return [len(chunk.items) for chunk in self.chunks]


_made = []


@pytest.fixture(autouse=True)
async def _close():
    """Let everything go that a test still holds."""
    yield
    for queue, send in _made:
        send.hold = False
        for gate in send.gates:
            gate.set()
        await queue.close()
    _made.clear()


def queue_for(send, *, flush="window", window_s=WINDOW_S, max_queued=1000):
    batching = Batching(batch_wait_timeout_s=window_s, flush=flush)
    queue = ModelQueue("m", batching, send, max_queued=max_queued)
    _made.append((queue, send))
    return queue


async def test_eight_leave_at_once_in_order_and_each_gets_its_own():
    replicas = Replicas()
    queue = queue_for(replicas, window_s=60)
    requests = [Request(i) for i in range(8)]
    for request in requests:
        queue.put(request)
    answers = await asyncio.wait_for(asyncio.gather(*(r.done for r in requests)), 5)
    assert [outcome.output for outcome, _ in answers] == [str(i).encode() for i in range(8)]
    assert {batch.flush_reason for _, batch in answers} == {FlushReason.FULL}
    assert replicas.sizes == [8]
    assert replicas.chunks[0].flush is False


async def test_fewer_leave_together_when_the_window_ends():
    replicas = Replicas()
    queue = queue_for(replicas)
    requests = [Request(i) for i in range(3)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    for request in requests:
        queue.put(request)
    answers = await asyncio.gather(*(r.done for r in requests))
    assert loop.time() - began >= WINDOW_S
    assert replicas.sizes == [3]
    assert replicas.chunks[0].flush is True  # the window has been waited here: not again in @serve.batch
    assert {batch.flush_reason for _, batch in answers} == {FlushReason.TIMER}


async def test_a_flush_request_takes_along_what_waits():
    replicas = Replicas()
    queue = queue_for(replicas, window_s=60)
    waiting = [Request(i) for i in range(3)]
    for request in waiting:
        queue.put(request)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert replicas.sizes == []
    urgent = Request(3, flush=True)
    queue.put(urgent)
    _, batch = await asyncio.wait_for(urgent.done, 5)
    assert batch.flush_reason is FlushReason.FLUSH
    assert replicas.sizes == [4]


async def test_a_model_that_flushes_when_idle_does_not_wait():
    replicas = Replicas()
    queue = queue_for(replicas, flush="idle", window_s=60)
    request = Request(0)
    queue.put(request)
    await asyncio.wait_for(request.done, 5)
    assert replicas.sizes == [1]


async def test_work_stays_here_while_replicas_are_busy_so_that_batches_fill():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas)
    first = Request("first")
    queue.put(first)
    await replicas.count(1)  # it left on the timer and is computing
    for i in range(5):
        queue.put(Request(i))
    await asyncio.sleep(2 * WINDOW_S)
    assert replicas.sizes == [1]  # the window has passed, but nobody could compute a second batch
    more = [Request(i) for i in range(3)]
    for request in more:
        queue.put(request)
    await replicas.count(2)
    assert replicas.sizes == [1, 8]  # full: made ready behind the running one
    for i in range(16):
        queue.put(Request(i))
    await asyncio.sleep(0.01)
    assert replicas.sizes == [1, 8]  # one running and one ready, no more
    replicas.gates[0].set()
    await replicas.count(3)
    assert replicas.sizes == [1, 8, 8]
    queue.set_replicas(2)
    await replicas.count(4)
    assert replicas.sizes == [1, 8, 8, 8]


async def test_a_dead_replica_fails_its_batch_and_the_queue_goes_on():
    replicas = Replicas()
    replicas.failure = ReplicaDied("gone")
    queue = queue_for(replicas)
    doomed = Request(0, flush=True)
    queue.put(doomed)
    outcome, batch = await doomed.done
    assert isinstance(outcome.error, ReplicaDied)
    assert batch.result is None
    replicas.failure = None
    fine = Request(1, flush=True)
    queue.put(fine)
    assert (await fine.done)[0].output == b"1"


async def test_one_failed_request_leaves_its_mates_alone():
    replicas = Replicas()
    replicas.outcomes = {1: Outcome(error=ModelFailed("x"))}
    queue = queue_for(replicas)
    requests = [Request(i, flush=True) for i in range(3)]
    for request in requests:
        queue.put(request)
    outcomes = [(await r.done)[0] for r in requests]
    assert [o.output for o in outcomes] == [b"0", None, b"2"]


async def test_a_request_that_must_be_alone_shares_no_chunk():
    replicas = Replicas()
    queue = queue_for(replicas)
    requests = [Request(0), Request(1, suspect=True), Request(2, suspect=True), Request(3), Request(4)]
    for request in requests:
        queue.put(request)
    await asyncio.gather(*(request.done for request in requests))
    # Suspects one at a time; the others do not wait for them to be cleared.
    assert [[data for data, _ in chunk.items] for chunk in replicas.chunks] == [[1], [2], [0, 3, 4]]
    assert [chunk.alone for chunk in replicas.chunks] == [True, True, False]


async def test_the_most_urgent_leave_first_and_equals_in_order():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas)
    queue.put(Request("first", flush=True))
    await replicas.count(1)
    for level in (4, 0, 9, 4, 9, 7):
        queue.put(Request((level, len(queue)), level=level))
    assert [queue.ahead_of(level) for level in (10, 9, 8, 7, 4, 0)] == [0, 2, 2, 3, 5, 6]
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
    assert queue.ahead_of(9) == 2
    for number in range(20):  # however many there are
        queue.put(Request(number, level=9), waited_s=(90.5 - number) * step_s)
    replicas.gates[0].set()
    await replicas.count(2)
    assert [data for data, _ in replicas.chunks[1].items] == ["within", "lowest", *range(6)]


async def test_who_has_gone_is_not_computed():
    replicas = Replicas()
    queue = queue_for(replicas)
    gone, here = Request("gone", flush=True), Request("here", flush=True)
    gone.wanted = False
    queue.put(gone)
    queue.put(here)
    await here.done
    assert [data for data, _ in replicas.chunks[0].items] == ["here"]
    assert not gone.started


async def test_a_full_queue_refuses():
    queue = queue_for(Replicas(hold=True), window_s=60, max_queued=2)
    for i in range(2):
        queue.admit()
        queue.put(Request(i))
    with pytest.raises(QueueFull) as caught:
        queue.admit()
    assert caught.value.retry_after_s


async def test_close_waits_for_what_is_computing():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas)
    request = Request(0, flush=True)
    queue.put(request)
    await replicas.count(1)
    closing = asyncio.create_task(queue.close())
    await asyncio.sleep(0)
    assert not closing.done()
    replicas.gates[0].set()
    await closing
    assert request.done.done()


async def test_a_closed_queue_takes_nothing_more():
    replicas = Replicas()
    queue = queue_for(replicas)
    await queue.close()
    late = Request(0, flush=True)
    queue.put(late)
    await asyncio.sleep(0.01)
    assert replicas.sizes == []
    assert not late.started
