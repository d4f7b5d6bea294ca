"""`satellite status`: every part with its process, address, uptime and memory."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

import psutil
from rich.table import Table
from rich.text import Text

from satellite.cli.console import EXIT_FAILED, EXIT_NOT_RUNNING, console, note
from satellite.cli.lifecycle import LABELS, running_state
from satellite.cli.processes import memory_bytes, tree
from satellite.cli.serve_api import DeploymentStatus, ServeApi, api_is_ready
from satellite.cli.state import Paths, ProcessRef, State, read_state
from satellite.cli.units import duration, megabytes
from satellite.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    part: str
    state: str
    healthy: bool
    pid: int | None = None
    address: str = ""
    uptime_s: float | None = None
    memory_bytes: int | None = None
    message: str = ""


def show(settings: Settings, *, as_json: bool) -> int:
    """Prints the status.

    Returns:
        0: all is well; 1: degraded; 3: not running.
    """
    paths = Paths(settings.home)
    state = running_state(paths)
    if state is None:
        last = read_state(paths)
        reason = last.error or "it was not stopped in good order" if last is not None else ""
        if as_json:
            print(json.dumps({"phase": "down", "error": reason, "parts": []}))
        else:
            console.print("Not running." + (f" The last run ended: {reason}" if reason else ""), markup=False)
            console.print("Start it with `satellite up`.")
        return EXIT_NOT_RUNNING
    rows = collect(state)
    healthy = state.phase == "ready" and all(row.healthy for row in rows)
    if as_json:
        document = {
            "phase": state.phase,
            "healthy": healthy,
            "api_url": state.api_url,
            "dashboard_url": state.dashboard_url,
            "notes": state.notes,
            "memory_bytes": sum(row.memory_bytes or 0 for row in rows),
            "parts": [asdict(row) for row in rows],
        }
        print(json.dumps(document, indent=1))
    else:
        console.print(_table(rows))
        for text in state.notes:
            note(text)
    return 0 if healthy else EXIT_FAILED


def collect(state: State) -> list[Row]:
    """Looks at every part now."""
    serve = ServeApi(state.dashboard_url)
    try:
        serving = serve.status()
    finally:
        serve.close()
    deployments = serving.deployments if serving is not None else ()
    replica_pids = {pid for deployment in deployments for pid in deployment.pids}
    guards = [state.guard] if state.guard else []
    rows = [
        _process_row(
            "supervisor", state.supervisor, alone=True, also=guards, message=f"system is {state.phase}"
        )
    ]
    for name in ("postgres", "redis", "ray"):
        part = state.parts[name]
        if part.state == "external":
            rows.append(Row(part=name, state="external", healthy=True, address=part.address))
            continue
        message = part.message or (f"restarted {part.restarts} times" if part.restarts else "")
        rows.append(
            _process_row(name, part.process, address=part.address, message=message, without=replica_pids)
        )
    rows += [_deployment_row(deployment) for deployment in deployments]
    if serving is None:
        rows.append(
            Row(part="deployments", state="unknown", healthy=False, message="Ray Serve does not answer")
        )
    ready = api_is_ready(state.api_url)
    rows.append(
        Row(
            part="api",
            state="ready" if ready else "not ready",
            healthy=ready,
            address=f"{state.api_url}/health/ready",
        )
    )
    return rows


def _process_row(
    name: str,
    reference: ProcessRef | None,
    *,
    address: str = "",
    message: str = "",
    alone: bool = False,
    also: list[ProcessRef] | None = None,
    without: set[int] | None = None,
) -> Row:
    processes = [process for process in tree(reference) if process.pid not in (without or set())]
    if alone:
        processes = processes[:1]
    alive = bool(processes)
    processes += [process for other in also or [] if (process := other.process()) is not None]
    return Row(
        part=name,
        state="up" if alive else "down",
        healthy=alive,
        pid=reference.pid if reference is not None and alive else None,
        address=address,
        uptime_s=time.time() - reference.create_time if reference is not None and alive else None,
        memory_bytes=sum(memory_bytes(process) for process in processes),
        message=message,
    )


def _deployment_row(deployment: DeploymentStatus) -> Row:
    memory, ages = 0, [0.0]
    for pid in deployment.pids:
        try:
            process = psutil.Process(pid)
            memory += memory_bytes(process)
            ages.append(time.time() - process.create_time())
        except psutil.Error:
            continue
    return Row(
        part=f"{deployment.application}/{deployment.name}",
        state=deployment.state.lower(),
        healthy=deployment.is_healthy,
        pid=deployment.pids[0] if deployment.pids else None,
        address=f"{deployment.running} of {deployment.replicas} replicas",
        uptime_s=max(ages),
        memory_bytes=memory,
        message=deployment.message.strip().splitlines()[-1] if deployment.message.strip() else "",
    )


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("Part", "State", "Pid", "Address", "Uptime", "Memory", ""):
        table.add_column(title, justify="right" if title in ("Pid", "Uptime", "Memory") else "left")
    for row in rows:
        table.add_row(
            Text(LABELS.get(row.part, row.part)),
            Text(row.state, "green" if row.healthy else "red"),
            str(row.pid or ""),
            row.address,
            "" if row.uptime_s is None else duration(row.uptime_s),
            "" if row.memory_bytes is None else megabytes(row.memory_bytes),
            Text(row.message, "dim"),
        )
    table.add_section()
    table.add_row("total", "", "", "", "", megabytes(sum(row.memory_bytes or 0 for row in rows)), "")
    return table
