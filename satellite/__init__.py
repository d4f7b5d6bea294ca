"""Satellite: durable inference jobs and live batching on one Ray Serve deployment graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from satellite.cluster_client import ClusterClient

__all__ = ["__version__", "connect"]

__version__ = "0.1.0"


def connect(address: str | None = None) -> ClusterClient:
    """Connect a notebook or script to a running cluster, by Serve handles instead of HTTP.

    Args:
        address: the Ray cluster's address; None: the one `satellite up` runs on this machine, else Ray's own
            `auto` (RAY_ADDRESS, or the cluster this machine belongs to).

    Raises:
        Unavailable: there is no cluster, or Satellite is not deployed on it.
    """
    from satellite.cluster_client import ClusterClient, local_address

    return ClusterClient(address or local_address())
