"""Times and sizes for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A time span: `42 s`, `3 min`, `5 h 10 min`."""
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 2 * 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def short_duration(seconds: float) -> str:
    """A time span that may be very short: `4 ms`, `2.1 s`, `12 min`, `3 h 5 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else duration(seconds)


def megabytes(count: int) -> str:
    """A size."""
    return f"{count / 1e6:.0f} MB"
