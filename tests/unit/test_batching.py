"""How full a batch counts: the rule that makes `@serve.batch` take chunks."""

from hypothesis import given
from hypothesis import strategies as st

from satellite.batching import Chunk, batch_size


def chunk(count, flush=False):
    return Chunk([([], {})] * count, flush)


def test_unmarked_chunks_count_their_requests():
    assert batch_size([chunk(3), chunk(2)], 8) == 5


def test_a_marked_chunk_fills_the_batch():
    assert batch_size([chunk(3), chunk(2, flush=True)], 8) == 8


def test_what_does_not_fit_still_does_not_fit():
    assert batch_size([chunk(7, flush=True), chunk(2)], 8) == 9


def test_a_chunk_that_must_be_alone_fits_with_no_other():
    alone = Chunk([([], {})], flush=True, alone=True)
    assert batch_size([alone], 8) == 8
    assert batch_size([alone, chunk(1)], 8) > 8
    assert batch_size([chunk(1), alone], 8) > 8


@given(st.lists(st.tuples(st.integers(1, 8), st.booleans()), max_size=20), st.integers(1, 64))
def test_never_raises_and_never_counts_less_than_there_is(chunks, limit):
    built = [chunk(count, flush) for count, flush in chunks]
    assert batch_size(built, limit) >= sum(count for count, _ in chunks)
