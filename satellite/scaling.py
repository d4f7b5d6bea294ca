"""How many replicas a model should have: by its backlog, by the age of its oldest job, by requests, by CPU.

Serve scales by the requests that its routers know of. Here the backlog stays in the ingress and in
PostgreSQL, and a replica is given two calls at most: by them alone, a model with 10,000 waiting jobs looks
like one with two. So each ingress says how many replicas the backlog asks for, each replica says how busy
its processors are, and the policy takes whichever asks for most. Serve applies the bounds and delays of the
model's config to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from satellite.config import Scaling

# What a replica that does nothing uses of a processor: below it the CPU asks for no replica at all.
IDLE_LOAD = 0.1


def wanted_by_backlog(
    waiting: int,
    oldest_wait_s: float,
    *,
    replicas: int,
    batch_size: int,
    compute_s: float | None,
    targets: Scaling,
) -> float:
    """How many replicas it takes to work off what waits.

    Args:
        waiting: requests that can run now, in the whole system.
        oldest_wait_s: for how long the oldest of them has been able to run.
        replicas: how many are running.
        batch_size: requests in a full batch.
        compute_s: how long a batch computes; None: not known yet.
        targets: of the model.

    Returns:
        0 if nothing waits.
    """
    if not waiting:
        return 0.0
    by_work = math.ceil(waiting / batch_size) * (compute_s or 0.0) / targets.target_drain_s
    # As with CPU: of the replicas that are there, in proportion. At most twice as many at a time, as a
    # backlog keeps its age for a while after replicas have come.
    late = oldest_wait_s / targets.target_oldest_s
    by_age = max(replicas, 1) * min(late, 2.0) if late > 1 else 0.0
    return max(1e-9, by_work, by_age)  # something waits: scaled to zero, it starts one


def wanted(
    *,
    replicas: int,
    ongoing: float,
    target_ongoing: float,
    backlogs: Iterable[float],
    loads: Iterable[float],
) -> float:
    """How many replicas a model should have.

    Args:
        replicas: how many are running.
        ongoing: requests that Serve knows of: being computed, or on the way.
        target_ongoing: of those, how many each replica should have.
        backlogs: what each ingress asks for, of `wanted_by_backlog`; each speaks of the whole system.
        loads: of each replica the share of its processors in use, 1.0 being the target.

    Source: the last term is the rule of Kubernetes' HorizontalPodAutoscaler,
    desired = current * currentMetric / targetMetric, with its tolerance of a tenth.
    """
    measured = list(loads)
    load = sum(measured) / len(measured) if measured else 0.0
    by_cpu = replicas * load
    if load < IDLE_LOAD:
        by_cpu = 0.0
    elif abs(load - 1) <= 0.1:
        by_cpu = float(replicas)
    return max(ongoing / target_ongoing, by_cpu, max(backlogs, default=0.0))
