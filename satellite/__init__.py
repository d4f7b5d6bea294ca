"""Satellite: durable inference jobs and live batching on one Ray Serve deployment graph."""

__version__ = "0.1.0"
