"""Tunes Python's garbage collector for a process that serves."""

from __future__ import annotations

import gc

# How many objects come before it looks at the young ones. Python's 700 are less than one turn of the loop
# makes at full load, and nearly all of them die by themselves, once their request is answered.
YOUNG = 10_000


def tune_collector() -> None:
    """Called once a process is loaded: its modules and routes live as long as it does.

    A full collection would look at all of them, hundreds of thousands of objects, and every request that is
    under way would wait for it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
