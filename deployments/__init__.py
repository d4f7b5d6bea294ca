"""Thin Ray Serve shells around the library."""
