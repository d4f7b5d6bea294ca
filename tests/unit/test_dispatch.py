"""The queue of one model: when batches leave, and what happens when a replica fails."""

import asyncio
import contextvars

import pytest

from satellite.batching import FlushReason, Outcome
from satellite.config import Batching
from satellite.dispatch import ModelQueue
from satellite.errors import ModelFailed, QueueFull, ReplicaDied
from satellite.lanes import SYNC

from .queues import WINDOW_S, Clock, Replicas, Request, close_queues, data_of, queue_for


@pytest.fixture(autouse=True)
async def _close():
    yield
    await close_queues()


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


async def full_batches(replicas, count, **options):
    """Put so many requests, after one that tells how long a batch computes, and let all be computed."""
    queue = queue_for(replicas, window_s=0.01, **options)
    first = Request("first")
    queue.put(first)
    await first.done
    replicas.calls.clear()
    requests = [Request(n, size_bytes=10) for n in range(count)]
    for request in requests:
        queue.put(request)
    answers = await asyncio.wait_for(asyncio.gather(*(r.done for r in requests)), 5)
    assert [outcome.output for outcome, _ in answers] == [str(n).encode() for n in range(count)]
    return queue


@pytest.mark.parametrize(
    ("compute_s", "calls"),
    [(0.0, [4, 2, 1]), (0.002, [2, 2, 2, 1]), (0.1, [1, 1, 1, 1, 1, 1, 1])],
    ids=["faster than a call", "two fit", "slow"],
)
async def test_full_batches_of_a_fast_model_share_a_call(compute_s, calls):
    replicas = Replicas()
    replicas.compute_s = compute_s
    await full_batches(replicas, 51)
    assert replicas.sizes[1:] == [8] * 6 + [3]
    assert replicas.calls == calls
    assert [chunk.flush for chunk in replicas.chunks[1:]] == [False] * 6 + [True]


async def test_a_call_of_several_batches_holds_no_more_bytes_than_fit_a_message():
    replicas = Replicas()
    replicas.compute_s = 0.0
    await full_batches(replicas, 32, max_call_bytes=170)
    assert replicas.sizes[1:] == [8, 8, 8, 8]
    assert replicas.calls == [2, 2]


async def test_a_call_that_is_lost_is_lost_for_all_its_batches():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas, window_s=60)
    queue.compute_s = 0.0001
    requests = [Request(n) for n in range(16)]
    for request in requests:
        queue.put(request)
    await replicas.count(2)
    replicas.failure = ReplicaDied("gone")
    for gate in replicas.gates:
        gate.set()
    answers = await asyncio.wait_for(asyncio.gather(*(r.done for r in requests)), 5)
    assert all(isinstance(outcome.error, ReplicaDied) for outcome, _ in answers)
    assert replicas.calls == [2]


async def test_a_chunk_holds_no_more_bytes_than_fit_a_message():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas, window_s=60, max_call_bytes=100)
    requests = [Request(i, size_bytes=size) for i, size in enumerate([40, 60, 1, 500, 30, 30, 30, 30])]
    requests[2].wanted = False
    for request in requests:
        queue.put(request)
    queue.put(Request(8, flush=True, size_bytes=1))
    for count in range(1, 5):
        await replicas.count(count)
        replicas.gates[count - 1].set()
    assert [[data for data, _ in chunk.items] for chunk in replicas.chunks] == [
        [0, 1],
        [3],
        [4, 5, 6],
        [7, 8],
    ]
    assert all(chunk.flush for chunk in replicas.chunks)


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
        queue.admit("default")
        queue.put(Request(i))
    with pytest.raises(QueueFull) as caught:
        queue.admit("default")
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


async def test_while_the_gate_is_shut_only_synchronous_requests_leave():
    replicas = Replicas()
    queue = queue_for(replicas, window_s=0)
    open_ = False
    queue.gate = lambda: open_
    job, suspect, sync = (
        Request("job"),
        Request("suspect", suspect=True),
        Request("sync", flush=True, level=SYNC),
    )
    for request in (job, suspect, sync):
        queue.put(request)
    await sync.done
    await asyncio.sleep(0.01)
    assert data_of(replicas) == [["sync"]]
    open_ = True
    queue.poke()
    await asyncio.gather(job.done, suspect.done)


async def test_what_is_taken_out_does_not_leave():
    replicas = Replicas()
    queue = queue_for(replicas)
    gone, here = Request("gone", flush=True), Request("here")
    queue.put(gone)
    queue.put(here)
    assert queue.remove(gone)
    assert not queue.remove(gone)
    assert len(queue) == 1
    _, batch = await here.done
    assert batch.flush_reason is FlushReason.TIMER  # the mark went with the one that bore it
    assert data_of(replicas) == [["here"]]


@pytest.mark.parametrize("reason", [FlushReason.DEADLINE, FlushReason.DRAIN])
async def test_a_batch_leaves_early_and_says_why(reason):
    queue = queue_for(Replicas(), window_s=60)
    waiting = Request(0)
    queue.put(waiting)
    await asyncio.sleep(0.01)
    assert not waiting.started
    if reason is FlushReason.DRAIN:
        queue.drain()
    else:
        queue.put(Request(1, flush=reason))
    _, batch = await waiting.done
    assert batch.flush_reason is reason


async def test_one_suspect_runs_at_a_time_and_the_others_go_on_beside_it():
    replicas = Replicas(hold=True)
    queue = queue_for(replicas, flush="idle")
    queue.set_replicas(3)
    for i in range(2):
        queue.put(Request(f"suspect {i}", suspect=True))
    await replicas.count(1)
    queue.put(Request("innocent"))
    await replicas.count(2)
    assert data_of(replicas) == [["suspect 0"], ["innocent"]]
    replicas.gates[0].set()
    await replicas.count(3)
    assert data_of(replicas)[2] == ["suspect 1"]


async def test_time_spent_filling_a_batch_is_told_from_waiting_for_a_replica():
    clock = Clock()
    replicas = Replicas(hold=True)
    queue = queue_for(replicas, size=2, window_s=60, clock=clock)
    early, late = Request("early"), Request("late")
    queue.put(early)
    await asyncio.sleep(0)
    clock.now += 5
    queue.put(late)
    await replicas.count(1)
    assert (early.fill_s, late.fill_s) == (5, 0)  # a replica was free all the time
    behind = [Request(i) for i in range(3)]
    for request in behind:
        queue.put(request)
    await replicas.count(2)
    assert [request.fill_s for request in behind[:2]] == [0, 0]  # made ready behind a busy one
    clock.now += 7
    replicas.gates[0].set()
    replicas.gates[1].set()
    await asyncio.sleep(0.01)
    clock.now += 3
    queue.put(Request("last"))
    await replicas.count(3)
    assert behind[2].fill_s == 3  # 7 s for the replica, then 3 s for company


async def test_an_estimate_grows_with_what_is_ahead():
    replicas = Replicas()
    queue = queue_for(replicas, window_s=2)
    assert queue.eta_s(0) is None  # nothing has been computed yet
    queue.compute_s = 1.0
    assert queue.eta_s(0) == pytest.approx(3.0)  # the window, then itself
    assert queue.eta_s(7) == pytest.approx(1.0)  # it fills the batch
    assert queue.eta_s(8 * 5) == pytest.approx(6.0)
    queue.set_replicas(5)
    assert queue.eta_s(8 * 5) == pytest.approx(2.0)


async def test_a_chunk_carries_nothing_of_the_caller_that_filled_it():
    """Serve keeps a request's child calls by such a context, and cancels them when the client hangs up."""
    caller = contextvars.ContextVar("caller", default="nobody")
    seen = []

    async def send(chunks):
        seen.append(caller.get())
        return await replicas(chunks)

    replicas = Replicas()
    queue = ModelQueue("m", Batching(batch_wait_timeout_s=WINDOW_S), send, max_queued=100)
    caller.set("somebody")
    for again in range(2):
        request = Request(again)
        queue.put(request)
        await request.done
    assert seen == ["nobody", "nobody"]
    await queue.close()
