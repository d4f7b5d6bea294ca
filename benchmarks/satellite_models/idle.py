"""The paced model under the batching of `idle.yaml`."""

from benchmarks.scenarios.paced import Paced
from satellite.model import register_model


@register_model("idle")
class Idle(Paced):
    """The same, for jobs that wait for no company while a replica is free."""
