"""`up` and `down` as seen from the terminal: start a supervisor and follow it, or ask it to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from satellite.cli.console import CommandFailed, console, note
from satellite.cli.guard import clean_up
from satellite.cli.preflight import check_all, check_platform
from satellite.cli.processes import RUN_ID_VARIABLE, find_run, send, stop_run
from satellite.cli.state import EXIT_LOCKED, Part, Paths, State, lock_is_free, read_state
from satellite.errors import EnvironmentProblem
from satellite.settings import Settings

POLL_S = 0.1
DOWN_TIMEOUT_S = 25
MAX_LOG_BYTES = 10 * 1024 * 1024
LABELS = {"postgres": "PostgreSQL", "redis": "Redis", "ray": "Ray", "deployments": "Deployments"}


@dataclass(slots=True, kw_only=True)
class Started:
    """A system that is up, and how it came to be.

    Attributes:
        state: what the supervisor says.
        by_us: whether this command started it.
        supervisor: the child process and its pipe, where this command started it.
    """

    state: State
    by_us: bool
    supervisor: subprocess.Popen[str] | None = None

    def keep(self) -> None:
        """Lets the system outlive this command."""
        if self.supervisor is not None and self.supervisor.stdin is not None:
            self.supervisor.stdin.write("keep\n")
            self.supervisor.stdin.close()


def start(settings: Settings, config_file: Path) -> Started:
    """Makes sure that the system is up: starts it, joins a start under way, or finds it running.

    Until `Started.keep` is called, the system ends with this process.

    Raises:
        EnvironmentProblem: something here prevents it; nothing was started.
        CommandFailed: it was started and failed; everything is stopped again.
    """
    check_platform()
    paths = Paths(settings.home)
    running = running_state(paths)
    if running is not None:
        if running.phase == "starting":
            console.print("Another `satellite up` is starting this system: following it.")
            return Started(state=_follow(paths, running.run_id, None), by_us=False)
        if running.phase == "stopping":
            raise EnvironmentProblem("This system is just stopping: try again in some seconds.")
        return Started(state=running, by_us=False)
    forget_crashed_run(paths)
    check_all(settings, paths, config_file)
    _rotate_logs(paths)
    run_id = uuid.uuid4().hex
    with paths.log("supervisor").open("ab") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "satellite.cli.supervisor", "--config", str(config_file.absolute())],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, RUN_ID_VARIABLE: run_id},
            start_new_session=True,
            text=True,
        )
    try:
        state = _follow(paths, run_id, supervisor)
    except KeyboardInterrupt:
        console.print("Stopping what was started ...")
        stop(paths, supervisor, run_id)
        raise
    return Started(state=state, by_us=True, supervisor=supervisor)


def running_state(paths: Paths) -> State | None:
    """The state of the run that is alive; None where there is none."""
    state = read_state(paths)
    return state if state is not None and state.phase != "failed" and state.is_alive else None


def forget_crashed_run(paths: Paths) -> int:
    """Stops and forgets what a dead supervisor left.

    Returns:
        How many processes were stopped.
    """
    state = read_state(paths)
    if state is None or state.is_alive:
        return 0
    stopped = clean_up(paths, state.run_id)
    # Only what was seen: another `up` may have begun meanwhile.
    if (left := read_state(paths)) is not None and left.run_id == state.run_id:
        paths.state.unlink(missing_ok=True)
    return stopped


def _rotate_logs(paths: Paths) -> None:
    for log in paths.logs.glob("*.log"):
        if log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))


def _follow(paths: Paths, run_id: str, supervisor: subprocess.Popen[str] | None) -> State:
    """Shows the parts' progress until the system is ready."""
    told: set[str] = set()
    state: State | None = None
    with Live(console=console, refresh_per_second=8, transient=False) as live:
        while True:
            fresh = read_state(paths)
            if fresh is not None and fresh.run_id == run_id:
                state = fresh
            if state is not None and state.phase != "stopping":
                if console.is_terminal:
                    live.update(_progress(state))
                else:
                    _tell_news(state, told)
            if state is not None and state.phase == "ready":
                return state
            # Ask for the end only after reading: the last state is written just before.
            ended = supervisor.poll() is not None if supervisor else state is not None and not state.is_alive
            if ended or (state is not None and state.phase == "failed"):
                break
            time.sleep(POLL_S)
    if supervisor is not None:
        code = supervisor.wait(DOWN_TIMEOUT_S)
        if code == EXIT_LOCKED:
            raise EnvironmentProblem("Another `satellite up` has just begun: run `satellite status`.")
    state = read_state(paths)
    reason = (
        state.error if state is not None and state.run_id == run_id else ""
    ) or f"See {paths.log('supervisor')}"
    raise CommandFailed(f"The start failed, everything was stopped. {reason}")


def _progress(state: State) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, part in state.parts.items():
        table.add_row(*_line(name, part))
    return table


def _line(name: str, part: Part) -> tuple[Text, Text, Text, Text]:
    mark = {
        "waiting": Text("·", "dim"),
        "starting": Text("…", "yellow"),
        "up": Text("✓", "green"),
        "failed": Text("✗", "red"),
        "external": Text("→", "cyan"),
    }[part.state]
    seconds = "" if part.seconds is None else f"{part.seconds:5.1f} s"
    words = "waiting" if part.state == "waiting" else part.message or part.address
    return mark, Text(LABELS[name]), Text(seconds, "dim"), Text(words, "dim")


def _tell_news(state: State, told: set[str]) -> None:
    """Without a terminal: one line per part, once it is up."""
    for name, part in state.parts.items():
        if part.state in ("up", "failed", "external") and name not in told:
            told.add(name)
            seconds = "" if part.seconds is None else f" after {part.seconds:.1f} s"
            console.print(f"{LABELS[name]}: {part.state}{seconds}")


def summary(started: Started) -> dict[str, Any]:
    """What `up --json` prints."""
    state = started.state
    return {
        "started": started.by_us,
        "api_url": state.api_url,
        "dashboard_url": state.dashboard_url,
        "seconds": state.ready_at and round(state.ready_at - state.started_at, 1),
        "notes": state.notes,
    }


def print_addresses(state: State, paths: Paths) -> None:
    """Where to find what, and how to stop it."""
    for text in state.notes:
        note(text)
    table = Table.grid(padding=(0, 2))
    api = state.api_url
    for name, url in (
        ("Web page", f"{api}/"),
        ("API", f"{api}/api/v1"),
        ("API docs", f"{api}/docs"),
        ("Ray dashboard", state.dashboard_url),
        ("Metrics", f"the targets in {paths.scrape_targets}; `satellite monitor`"),
    ):
        table.add_row(name, escape(url))
    console.print(table)


def stay_attached(settings: Settings, started: Started) -> None:
    """Waits for Ctrl-C and then stops everything; ends too when the system ends by itself.

    Raises:
        CommandFailed: it ended by itself.
    """
    assert started.supervisor is not None
    paths, run_id = Paths(settings.home), started.state.run_id
    try:
        code = started.supervisor.wait()
    except KeyboardInterrupt:
        console.print("Stopping ...")
        stop(paths, started.supervisor, run_id)
        return
    state = read_state(paths)
    if code != 0:
        raise CommandFailed((state.error if state else "") or f"see {paths.log('supervisor')}")


def stop(paths: Paths, supervisor: subprocess.Popen[str] | None, run_id: str) -> None:
    """Asks a supervisor to stop and waits until nothing of its run is left."""
    # A second Ctrl-C must not leave half a system behind.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if supervisor is not None:
            supervisor.terminate()
            try:
                supervisor.wait(DOWN_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                supervisor.kill()
        else:
            state = read_state(paths)
            process = state.supervisor.process() if state is not None else None
            if process is not None:
                send(process, signal.SIGTERM)
        _wait_until_gone(paths, run_id)
    finally:
        signal.signal(signal.SIGINT, previous)


def _wait_until_gone(paths: Paths, run_id: str) -> None:
    state = read_state(paths)
    session = state.supervisor if state is not None and state.run_id == run_id else None
    guard = state.guard if state is not None and state.run_id == run_id else None
    deadline = time.monotonic() + DOWN_TIMEOUT_S
    while time.monotonic() < deadline:
        if (session is None or session.process() is None) and lock_is_free(paths):
            break
        time.sleep(POLL_S)
    roots = [part.process for part in state.parts.values() if part.process] if state is not None else []
    stop_run(run_id, session=session, roots=roots, grace_s=1)
    while guard is not None and guard.process() is not None and time.monotonic() < deadline:
        time.sleep(POLL_S)


def down(settings: Settings) -> str:
    """Stops the system of this home, or what a crashed run left.

    Returns:
        What was done, in one line.
    """
    paths = Paths(settings.home)
    state = read_state(paths)
    if state is None:
        return "Not running."
    if not state.is_alive:
        stopped = forget_crashed_run(paths)
        reason = f" The last run ended: {state.error}" if state.error else ""
        return "Not running." + reason + (f" Stopped {stopped} leftover processes." if stopped else "")
    began = time.monotonic()
    count = len(find_run(state.run_id, session=state.supervisor))
    stop(paths, None, state.run_id)
    left = find_run(state.run_id, session=state.supervisor)
    if left:
        raise CommandFailed(
            f"{len(left)} processes would not stop: {', '.join(str(process.pid) for process in left)}"
        )
    paths.state.unlink(missing_ok=True)
    parts = ", ".join(
        LABELS[name] for name, part in reversed(state.parts.items()) if part.state != "external"
    )
    return f"Stopped {parts} ({count} processes) in {time.monotonic() - began:.1f} s."
