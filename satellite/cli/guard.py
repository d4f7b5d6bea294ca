"""Cleans up after a supervisor that was killed: started by it, in a session of its own, before anything else.

It reads a pipe whose other end only the supervisor holds. The kernel closes that end however the supervisor
ends; then whatever still belongs to the run is stopped.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

from satellite.cli.processes import stop_run
from satellite.cli.state import Paths, read_state

log = logging.getLogger("satellite.guard")


def main() -> int:
    """Waits for the end of standard input, then cleans up the run named by the arguments: home, run id."""
    paths, run_id = Paths(Path(sys.argv[1])), sys.argv[2]
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Whoever stops the run stops the supervisor; the guard ends by itself, last.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    stopped = clean_up(paths, run_id)
    if stopped:
        log.warning("the supervisor ended without stopping its parts: stopped %d processes", stopped)
    return 0


def clean_up(paths: Paths, run_id: str) -> int:
    """Stops what is left of a run and forgets it.

    Returns:
        How many processes were stopped.
    """
    state = read_state(paths)
    ours = state is not None and state.run_id == run_id
    session = state.supervisor if state is not None and ours else None
    roots = (
        [part.process for part in state.parts.values() if part.process] if state is not None and ours else []
    )
    stopped = stop_run(run_id, session=session, roots=roots, grace_s=4)
    # A supervisor that stopped in good order has removed its state, or left in it why it failed.
    if state is not None and ours and state.phase != "failed":
        paths.state.unlink(missing_ok=True)
    return stopped


if __name__ == "__main__":
    sys.exit(main())
