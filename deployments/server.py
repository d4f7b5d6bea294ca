"""Bounds the uvicorn that Serve starts in a replica, and has no settings for."""

import functools

import uvicorn

from satellite.api.server import server_options
from satellite.settings import Settings


def bound_server(settings: Settings) -> None:
    """Make the bounds the defaults of this process. To be called in a replica's constructor.

    Its server starts after that.
    """
    uvicorn.Config = functools.partial(uvicorn.Config, **server_options(settings))
