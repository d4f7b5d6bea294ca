"""Runs in every Ray worker process before anything else: keeps Serve's replicas on loopback.

Ray 2.60 binds the port through which one deployment calls another to `[::]`, with no setting for it. Ray's
own setup hook (`worker_process_setup_hook`) is the one place that comes before the replica's code, so the
function that binds the port is wrapped there. Everything else that listens is put on loopback by settings
(`ray_head.py`).
"""

from __future__ import annotations

import importlib
from typing import Any


def keep_on_loopback() -> None:
    """Makes `add_port_to_grpc_server(server, "[::]:N")` bind 127.0.0.1."""
    # By name: the library itself knows nothing of Ray, and this runs inside Ray's process only.
    module: Any = importlib.import_module("ray._common.tls_utils")
    original = module.add_port_to_grpc_server

    def add_port_to_grpc_server(server: Any, address: str) -> int:
        return original(server, address.replace("[::]:", "127.0.0.1:", 1))

    module.add_port_to_grpc_server = add_port_to_grpc_server
