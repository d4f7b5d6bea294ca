"""What travels between an ingress and a model replica, and how big it counts in the batch queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from satellite.errors import InferenceError


class FlushReason(StrEnum):
    """Why a batch left its queue."""

    FULL = "full"  # it held max_batch_size requests
    TIMER = "timer"  # its oldest request had waited batch_wait_timeout_s
    DEADLINE = "deadline"  # waiting longer would have missed a request's deadline, and a replica was free
    FLUSH = "flush"  # a request that must not wait was in it, and a replica was free
    DRAIN = "drain"  # the ingress was about to stop, and a replica was free


class Tensor(NamedTuple):
    """The input of one request as an array of numbers: a tenth of what its JSON costs (see `tensors.py`).

    Attributes:
        shape: the length of each dimension.
        data: the elements as little-endian doubles, row by row.
    """

    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """1 to `max_batch_size` requests that go to a replica together.

    Attributes:
        items: for each request its `data`, as JSON text or as a tensor, and its `config`, as JSON text. Both
            are validated already: nobody between the caller and the model makes objects of them.
        flush: the batch that takes this chunk in leaves at once instead of waiting for more.
        alone: no other chunk may share its batch: it may be the one that kills replicas.
        version: which version of the model computes them; None: the default, or the only one.
    """

    items: Sequence[tuple[str | Tensor, str]]
    flush: bool
    alone: bool = False
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request: exactly one of the two is set.

    Attributes:
        output: the model's `Output` as JSON, ready to be stored and sent.
        error: why there is none.
    """

    output: bytes | None = None
    error: InferenceError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkResult:
    """A replica's answer to one chunk.

    Attributes:
        outcomes: one per item of the chunk, in its order.
        batch_id: the batch the chunk was computed in; chunks of several callers can share one. None: it was
            not computed, as its version could not be loaded.
        batch_size: how many requests that batch held.
        started_at_s: when the batch began to compute, seconds since the epoch by the replica's clock.
        compute_s: how long it computed.
        load_s: how long the chunk waited before that for its version to be loaded.
    """

    outcomes: Sequence[Outcome]
    model_version: str
    replica_id: str
    batch_id: str | None
    batch_size: int
    started_at_s: float
    compute_s: float
    load_s: float = 0.0

    def loaded_in(self, load_s: float) -> ChunkResult:
        """The same, after a wait for the version."""
        return replace(self, load_s=load_s)


def batch_size(chunks: Sequence[Chunk], max_batch_size: int) -> int:
    """How full a batch of these chunks counts, for `@serve.batch(batch_size_fn=...)`.

    A chunk marked `flush` counts as filling the batch, so that it leaves at once, yet more chunks can still
    join while they really fit. One marked `alone` fits with no other. It must never raise: an exception in
    there hangs Serve's batcher for good.
    """
    size = sum(len(chunk.items) for chunk in chunks)
    if len(chunks) > 1 and any(chunk.alone for chunk in chunks):
        return max(size, max_batch_size + 1)
    return max(size, max_batch_size) if any(chunk.flush for chunk in chunks) else size
