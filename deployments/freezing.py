"""Takes what a process has loaded out of the garbage collector's sight."""

from __future__ import annotations

import gc


def freeze() -> None:
    """Called once a process is loaded: its modules and routes live as long as it does.

    A full collection would look at all of them, hundreds of thousands of objects, and every request that is
    under way would wait for it.
    """
    gc.collect()
    gc.freeze()
