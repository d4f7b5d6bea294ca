"""The autoscaling policy of the application, which `serve_config.yaml` names; Serve's controller calls it.

It must not block: all that it works with, replicas have reported before through `record_autoscaling_stats`.
"""

from __future__ import annotations

from typing import Any

from ray.serve.config import AutoscalingContext

from satellite.model import INGRESS
from satellite.scaling import wanted

BACKLOG = "backlog/"  # of an ingress, with a model's name: what `satellite.scaling.wanted_by_backlog` says
LOAD = "load"  # of a model's replica: the share of its processors in use, 1.0 being the target


def decide(contexts: dict[Any, AutoscalingContext]) -> tuple[dict[Any, float], dict[Any, dict[str, Any]]]:
    """How many replicas each deployment should have, before bounds and delays.

    Args:
        contexts: what Serve knows of each deployment, by its id.
    """
    ingress = next((c for c in contexts.values() if c.deployment_name == INGRESS), None)
    decisions = {
        key: wanted(
            replicas=context.current_num_replicas,
            ongoing=context.total_num_requests,
            target_ongoing=context.config.get_target_ongoing_requests(),
            backlogs=_latest(ingress, BACKLOG + context.deployment_name),
            loads=_latest(context, LOAD),
        )
        for key, context in contexts.items()
    }
    return decisions, {}


def _latest(context: AutoscalingContext | None, name: str) -> list[float]:
    """What each running replica said last."""
    if context is None:
        return []
    running = set(context.running_replicas)
    series = (context.raw_metrics or {}).get(name, {})
    return [samples[-1].value for replica, samples in series.items() if samples and replica in running]
