"""Finding and stopping every process of one run, however far it has wandered.

Three marks, because each alone has a hole: the run id in the environment (a process may overwrite its own
environment block to show a title), the session id (a daemon may start its own), and the recorded processes
with their descendants (a daemon's parent may be gone).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

import psutil

from satellite.cli.state import ProcessRef

RUN_ID_VARIABLE = "SATELLITE_RUN_ID"


def find_run(
    run_id: str, *, session: ProcessRef | None = None, roots: Iterable[ProcessRef] = ()
) -> list[psutil.Process]:
    """All live processes of a run, except the calling one.

    Args:
        run_id: the value of SATELLITE_RUN_ID in their environment.
        session: the leader of the run's session, dead or alive.
        roots: recorded processes; they and their descendants count.
    """
    found: dict[int, psutil.Process] = {}
    session_id = _session_id(session)
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            in_session = session_id is not None and os.getsid(process.pid) == session_id
            if in_session or _run_id_of(process) == run_id:
                found[process.pid] = process
        except (psutil.Error, OSError):
            continue
    for root in roots:
        process = root.process()
        if process is not None:
            found[process.pid] = process
            try:
                found.update({child.pid: child for child in process.children(recursive=True)})
            except psutil.Error:
                continue
    found.pop(os.getpid(), None)
    return list(found.values())


def _session_id(leader: ProcessRef | None) -> int | None:
    """The session's id, unless that number means another session by now.

    The kernel does not reuse a pid that is still some session's id; so a live process with the leader's pid
    and another start time means that the session is gone.
    """
    if leader is None:
        return None
    if leader.process() is None and psutil.pid_exists(leader.pid):
        return None
    return leader.pid


def _run_id_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(RUN_ID_VARIABLE)
    except (psutil.Error, OSError):
        return None


def stop_all(processes: Iterable[psutil.Process], *, grace_s: float) -> int:
    """Asks all to stop, then kills what is left.

    Args:
        processes: whom to stop.
        grace_s: seconds between asking and killing.

    Returns:
        How many were alive at the start.
    """
    alive = [process for process in processes if process.is_running()]
    for process in alive:
        # SIGINT is PostgreSQL's fast shutdown; its SIGTERM waits for every client to leave.
        gentle = signal.SIGINT if _name(process) == "postgres" else signal.SIGTERM
        send(process, gentle)
    _, left = psutil.wait_procs(alive, timeout=grace_s)
    for process in left:
        send(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=3)
    return len(alive)


def send(process: psutil.Process, signal_number: int) -> None:
    """Sends a signal to a process that may be gone already."""
    try:
        process.send_signal(signal_number)
    except psutil.Error:
        return


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def stop_run(
    run_id: str,
    *,
    session: ProcessRef | None,
    roots: Iterable[ProcessRef],
    grace_s: float,
    timeout_s: float = 20,
) -> int:
    """Stops a run until nothing of it is found any more.

    Returns:
        How many processes were stopped.
    """
    roots = list(roots)
    stopped = 0
    deadline = time.monotonic() + timeout_s
    while left := find_run(run_id, session=session, roots=roots):
        stopped += stop_all(left, grace_s=grace_s)
        # What they started meanwhile gets no second grace.
        grace_s = 0.2
        if time.monotonic() > deadline:
            break
    return stopped


def memory_bytes(process: psutil.Process) -> int:
    """The proportional set size, which counts shared pages once; where unreadable the resident size."""
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or full.rss)
    except psutil.Error:
        return 0


def tree(reference: ProcessRef | None) -> list[psutil.Process]:
    """A process and all its descendants; empty where it is gone."""
    process = None if reference is None else reference.process()
    if process is None:
        return []
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def who_listens(port: int) -> str:
    """What is known about the process that listens on a TCP port, for an error message."""
    try:
        for connection in psutil.net_connections("tcp"):
            address = tuple(connection.laddr)
            if connection.status == psutil.CONN_LISTEN and connection.pid and port in address[1:2]:
                return f"{_name(psutil.Process(connection.pid))}, pid {connection.pid}"
    except (psutil.Error, OSError):
        pass
    return "another program"
