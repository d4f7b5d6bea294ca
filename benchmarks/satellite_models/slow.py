"""The paced model under the batching of `slow.yaml`."""

from benchmarks.scenarios.paced import Paced
from satellite.model import register_model


@register_model("slow")
class Slow(Paced):
    """Sleeps as long as it is asked to, while others wait for it: room for a long backlog."""
