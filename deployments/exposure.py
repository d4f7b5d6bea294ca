"""Which address Serve's front doors listen on: that of the Serve config that was deployed."""

from __future__ import annotations

from ray.serve.config import HTTPOptions
from ray.serve.context import _get_global_client  # pyright: ignore[reportPrivateUsage]


async def listens_on() -> str:
    """The address; Serve has no public call that tells it to a replica."""
    client = _get_global_client()
    options: HTTPOptions = await client._controller.get_http_config.remote()  # pyright: ignore
    return options.host or "127.0.0.1"
