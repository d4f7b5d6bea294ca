"""Sends Satellite's log lines where Serve's own go: the replica's log file, in the same JSON."""

import logging


def configure_logging() -> None:
    """Let the `satellite` loggers write through Serve's handlers. To be called in a replica's constructor."""
    serve = logging.getLogger("ray.serve")
    satellite = logging.getLogger("satellite")
    satellite.handlers = serve.handlers
    satellite.setLevel(serve.level)
    satellite.propagate = False
