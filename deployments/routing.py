"""Sends a call first to the replicas that hold its version; Serve makes one router in every ingress.

Only models with several versions have it. It learns from the replicas, by way of Serve's controller, a second
or two late, what they hold; what it has itself sent somewhere it knows at once.
"""

from __future__ import annotations

import time
from typing import Any

from ray.serve._private.common import ReplicaID
from ray.serve._private.request_router import PowerOfTwoChoicesRequestRouter, RequestRouter
from ray.serve._private.request_router.common import PendingRequest
from ray.serve._private.request_router.replica_wrapper import RunningReplica

from satellite.dispatch import CALLS_PER_REPLICA

STATS_PERIOD_S = 1.0
# What was sent to a replica is in its own reports by then.
REMEMBERED_S = 5.0

OPTIONS: dict[str, Any] = {
    "request_router_class": "deployments.routing.VersionRouter",
    "request_routing_stats_period_s": STATS_PERIOD_S,
}


class VersionRouter(PowerOfTwoChoicesRequestRouter):
    """As Serve's own router, among the replicas that hold the version and have room; else among all."""

    # Serve's own gives a replica that was chosen for one call to whichever has waited longest.
    _fulfill_next_pending_request = RequestRouter._fulfill_next_pending_request

    def initialize_state(self) -> None:
        """Called by Serve once."""
        self._holders: dict[str, set[ReplicaID]] = {}
        self._sent: dict[str, tuple[ReplicaID, float]] = {}

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take over which replicas there are, and what they hold."""
        super().update_replicas(replicas)
        self._holders = {}
        for replica in replicas:
            for version in replica.routing_stats.get("versions", ()):
                self._holders.setdefault(version, set()).add(replica.replica_id)

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks of replicas, to be tried in turn; of one rank the one with the fewest calls is taken."""
        everyone = await super().choose_replicas(candidate_replicas, pending_request)
        version = _version(pending_request)
        if version is None:
            return everyone
        holders = set(self._holders.get(version, ()))
        sent_to, at_s = self._sent.get(version, (None, 0.0))
        if sent_to is not None and time.monotonic() - at_s < REMEMBERED_S:
            holders.add(sent_to)
        # One that has its calls already would make it wait while others are free: better loaded twice.
        with_room = [self._replicas[id_] for id_ in holders if id_ in self._replicas and self._has_room(id_)]
        return [with_room, *everyone] if with_room else everyone

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, result: Any) -> None:
        """Called by Serve after each call."""
        super().on_request_routed(pending_request, replica_id, result)
        version = _version(pending_request)
        if version is not None:
            self._sent[version] = (replica_id, time.monotonic())

    def _has_room(self, replica_id: ReplicaID) -> bool:
        return (self.replica_queue_len_cache.get(replica_id) or 0) < CALLS_PER_REPLICA


def _version(pending_request: PendingRequest | None) -> str | None:
    """The version that a call is for: that of its chunks, or of a direct `predict`."""
    if pending_request is None:
        return None
    if pending_request.args and isinstance(pending_request.args[0], list):
        return getattr(pending_request.args[0][0], "version", None) if pending_request.args[0] else None
    return pending_request.kwargs.get("model_version")
