"""Satellite: durable inference jobs and live batching on one Ray Serve deployment graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from satellite.client import AsyncClient, Client
    from satellite.cluster_client import ClusterClient

__all__ = ["AsyncClient", "Client", "__version__", "connect"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The clients, imported when they are asked for: the server imports this package too."""
    if name in ("AsyncClient", "Client"):
        from satellite import client

        return getattr(client, name)
    raise AttributeError(f"module 'satellite' has no attribute '{name}'")


def connect(address: str | None = None, *, tenant: str = "default") -> ClusterClient:
    """Connect a notebook or script to a running cluster, by Serve handles instead of HTTP, without a key.

    Args:
        address: the Ray cluster's address; None: the one `satellite up` runs on this machine, else Ray's own
            `auto` (RAY_ADDRESS, or the cluster this machine belongs to).
        tenant: whose jobs are made and seen.

    Raises:
        Unavailable: there is no cluster, or Satellite is not deployed on it.
    """
    import os

    from satellite.cli.state import local_ray_address

    address = address or local_ray_address() or "auto"
    if address.startswith("127."):
        # Else Ray replaces a loopback address by one that this cluster does not listen on.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    from satellite.cluster_client import ClusterClient

    return ClusterClient(address, tenant=tenant)
