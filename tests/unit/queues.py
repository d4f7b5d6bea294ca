"""What tests of queues need: requests, replicas that compute them when told to, a clock that is set."""

import asyncio

from satellite.batching import Chunk, ChunkResult, FlushReason, Outcome
from satellite.config import Batching
from satellite.dispatch import ModelQueue

WINDOW_S = 0.05


class Request:
    def __init__(
        self, data, *, flush=False, suspect=False, level=4, size_bytes=0, version=None, tenant="default"
    ):
        self.version, self.tenant = version, tenant
        self.data, self.config, self.level, self.suspect = data, "{}", level, suspect
        self.size_bytes = size_bytes
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
        self.calls: list[int] = []
        self.compute_s = 1
        self.arrived = asyncio.Condition()
        self.gates: list[asyncio.Event] = []
        self.hold = hold
        self.failure = None
        self.outcomes = {}

    async def __call__(self, chunks):
        self.calls.append(len(chunks))
        return await asyncio.gather(*map(self.run, chunks))

    async def run(self, chunk):
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
            compute_s=self.compute_s,
        )

    async def count(self, n):
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.chunks) >= n), 5)

    @property
    def sizes(self):
        return [len(chunk.items) for chunk in self.chunks]


_made = []


async def close_queues():
    """Let everything go that a test still holds."""
    for queue, send in _made:
        send.hold = False
        for gate in send.gates:
            gate.set()
        await queue.close()
    _made.clear()


def queue_for(send, *, flush="window", window_s=WINDOW_S, size=8, max_queued=1000, **options):
    batching = Batching(batch_wait_timeout_s=window_s, flush=flush, max_batch_size=size)
    queue = ModelQueue("m", batching, send, max_queued=max_queued, **options)
    _made.append((queue, send))
    return queue


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def data_of(replicas):
    return [[data for data, _ in chunk.items] for chunk in replicas.chunks]


async def filled(requests, *, clock=None):
    """A queue whose only replica is taken, in which these wait."""
    replicas = Replicas(hold=True)
    queue = queue_for(replicas, window_s=60, clock=clock or Clock())
    queue.put(Request("first", flush=True))
    await replicas.count(1)
    queue._busy = 99
    for request, waited_s in requests:
        queue.put(request, waited_s=waited_s)
    return queue, replicas
