"""Sends Satellite's log lines where Serve's own go: the replica's log file, in the same JSON."""

import logging
from typing import Any

# Serve makes a log record per request even where it does not write one: its own lines start at WARNING.
SERVE_LOGGING: dict[str, Any] = {"encoding": "JSON", "log_level": "WARNING", "enable_access_log": False}


def configure_logging(level: str) -> None:
    """Let the `satellite` loggers write through Serve's handlers. To be called in a replica's constructor."""
    satellite = logging.getLogger("satellite")
    satellite.handlers = logging.getLogger("ray.serve").handlers
    satellite.setLevel(level)
    satellite.propagate = False
