"""How many replicas: the four things that ask for them."""

import pytest

from satellite.config import Scaling
from satellite.scaling import wanted, wanted_by_backlog

TARGETS = Scaling(target_drain_s=10, target_oldest_s=10)


def backlog(waiting, oldest_wait_s=0.0, *, replicas=1, compute_s=0.1):
    return wanted_by_backlog(
        waiting, oldest_wait_s, replicas=replicas, batch_size=8, compute_s=compute_s, targets=TARGETS
    )


def of(*, replicas=1, ongoing=0.0, backlogs=(), loads=()):
    return wanted(replicas=replicas, ongoing=ongoing, target_ongoing=1.5, backlogs=backlogs, loads=loads)


def test_nothing_asks_for_nothing():
    assert backlog(0, 100.0) == 0
    assert of(backlogs=[0.0, 0.0], loads=[0.01]) == 0


def test_a_backlog_asks_for_what_works_it_off_in_time():
    # 8,000 requests are 1,000 batches of 0.1 s: 100 s of work.
    assert backlog(8000) == pytest.approx(10)
    # A quick model needs no further replica for as many.
    assert backlog(8000, compute_s=0.001) == pytest.approx(0.1)


def test_something_that_waits_wakes_a_model_whose_speed_is_not_known():
    assert 0 < backlog(1, replicas=0, compute_s=None) < 1


def test_an_old_job_asks_for_more_but_not_for_more_than_twice_as_many():
    assert backlog(1, 9.0, replicas=4) < 1
    assert backlog(1, 15.0, replicas=4) == pytest.approx(6)
    assert backlog(1, 3600.0, replicas=4) == pytest.approx(8)


def test_busy_processors_ask_as_kubernetes_does():
    assert of(replicas=4, loads=[1.5, 1.5, 1.5, 1.5]) == pytest.approx(6)
    assert of(replicas=4, loads=[1.05] * 4) == 4  # within the tolerance
    assert of(replicas=4, loads=[0.5] * 4) == pytest.approx(2)


def test_whichever_asks_for_most_counts():
    assert of(replicas=2, ongoing=9.0) == pytest.approx(6)
    assert of(replicas=2, ongoing=9.0, backlogs=[3.0, 7.0]) == 7
    assert of(replicas=2, ongoing=9.0, backlogs=[3.0], loads=[8.0, 8.0]) == 16
