"""What the overview counts, without Redis."""

import math
import random

import pytest

from satellite.metrics import NoMetrics
from satellite.overview import BOUNDS, Counts, Recorder, Tee, bucket_of, percentile


def histogram(values):
    buckets = {}
    for value in values:
        buckets[bucket_of(value)] = buckets.get(bucket_of(value), 0) + 1
    return buckets


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_percentiles_are_off_by_a_tenth_at_most(share):
    draw = random.Random(1)
    values = sorted(math.exp(draw.uniform(math.log(0.001), math.log(60))) for _ in range(5000))
    exact = values[round(share * len(values)) - 1]
    assert percentile(histogram(values), share) == pytest.approx(exact, rel=0.1)
    halves = Counts(waits=histogram(values[::2]))
    halves.add(Counts(waits=histogram(values[1::2])))
    assert halves.shown()[f"wait_p{share * 100:g}_s"] == percentile(histogram(values), share)


def test_percentiles_at_the_ends():
    assert percentile({}, 0.5) is None
    assert 0 < percentile(histogram([0.0]), 0.5) <= BOUNDS[0]
    assert percentile(histogram([10_000.0]), 0.95) == pytest.approx(BOUNDS[-1])


def test_each_thing_is_counted_once_and_taken_once():
    recorder = Recorder()
    both = Tee(NoMetrics(), recorder)
    both.job_submitted("a")
    for status in ("succeeded", "failed", "dead", "expired", "cancelled"):
        both.job_finished("a", status, 1.0)
    both.predict_finished("b", "succeeded", 0.1)
    both.batch_dispatched("a", [0.1, 0.2, 0.3])
    both.batch_finished("a", "full", 3, 0.05)
    taken = recorder.take()
    shown = taken["a"].shown()
    assert [shown[name] for name in ("submitted", "succeeded", "failed", "predicted")] == [1, 1, 3, 0]
    assert (shown["batches"], shown["batch_size"]) == (1, 3.0)
    assert shown["wait_p50_s"] == pytest.approx(0.2, rel=0.2)
    assert shown["compute_p95_s"] == pytest.approx(0.05, rel=0.2)
    assert taken["b"].predicted == 1
    assert recorder.take() == {}
