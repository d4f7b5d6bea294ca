"""What an ingress counts for the overview, and how it adds up."""

from bisect import bisect_left

import pytest

from satellite.counts import Counts, Growth, percentile
from satellite.metrics import SECONDS, Metrics


def histogram(values):
    buckets = {}
    for value in values:
        bucket = bisect_left(SECONDS, value)
        buckets[bucket] = buckets.get(bucket, 0) + 1
    return buckets


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_percentiles_lie_in_their_bucket_and_add_up(share):
    values = [0.001 * 1.003**n for n in range(3000)]
    exact = values[round(share * len(values)) - 1]
    bucket = bisect_left(SECONDS, exact)
    assert SECONDS[bucket - 1] <= percentile(histogram(values), share) <= SECONDS[bucket]
    halves = Counts(waits=histogram(values[::2]))
    halves.add(Counts(waits=histogram(values[1::2])))
    assert halves.shown()[f"wait_p{share * 100:g}_s"] == percentile(histogram(values), share)


def test_percentiles_at_the_ends():
    assert percentile({}, 0.5) is None
    assert 0 < percentile(histogram([0.0]), 0.5) <= SECONDS[0]
    assert percentile(histogram([10_000.0]), 0.95) == pytest.approx(SECONDS[-1])


def test_each_thing_is_counted_once_and_taken_once():
    metrics = Metrics(["a", "b"])
    growth = Growth(metrics)
    for times in (1, 2):
        metrics.jobs_submitted.add("a", count=times)
        for status in ("succeeded", "failed", "dead", "expired", "cancelled"):
            metrics.job_ended("a", status, 1.0)
        metrics.predict_seconds.observe(0.1, "b", "succeeded")
        for wait_s in (0.1, 0.2, 0.3):
            metrics.job_wait_seconds.observe(wait_s, "a")
        metrics.batch_size.observe(3, "a", "full")
        metrics.batch_compute_seconds.observe(0.05, "a")
        taken = growth.take()
        shown = taken["a"].shown()
        assert [shown[name] for name in ("submitted", "succeeded", "failed", "predicted")] == [times, 1, 3, 0]
        assert (shown["batches"], shown["batch_size"]) == (1, 3.0)
        assert 0.1 <= shown["wait_p50_s"] <= 0.2
        assert 0.02 <= shown["compute_p95_s"] <= 0.05
        assert taken["b"].predicted == 1
        assert growth.take() == {}
