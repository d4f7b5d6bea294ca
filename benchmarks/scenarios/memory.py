"""Memory by kind of process."""

from __future__ import annotations

from benchmarks.system import System

INGRESS = "ServeReplica:satellite:Ingress"
# They fill their caches with use, up to what their own settings allow.
DATABASES = ("postgres", "redis-server")


def pss_mb(system: System, kind: str) -> float:
    """The proportional set size of one kind of process."""
    return system.memory_mb()[kind]
