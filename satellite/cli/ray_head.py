"""The local Ray head: its command line, its environment, and what it leaves behind.

Every address is loopback and every port is chosen here, so that two Satellites run beside each other and
nothing is reachable from outside.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from satellite.cli.serve_mode import HAPROXY_MISSING, serve_environment, uses_haproxy
from satellite.cli.state import Paths
from satellite.errors import EnvironmentProblem
from satellite.settings import Settings

log = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 200 * 1000 * 1000
# Below the kernel's ephemeral ports and Serve's replica ports: nobody takes one between choice and use.
FIRST_PORT, LAST_PORT = 20_000, 29_999


def free_ports(count: int) -> list[int]:
    """Different TCP ports on which nothing listens."""
    ports: list[int] = []
    for port in random.sample(range(FIRST_PORT, LAST_PORT + 1), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise EnvironmentProblem(
        f"No {count} free TCP ports between {FIRST_PORT} and {LAST_PORT}: stop other programs."
    )


@dataclass(slots=True, kw_only=True)
class RayHead:
    """`ray start --head --block` as a child process.

    Args:
        settings: ports, CPUs and the mode of Serve.
        paths: the home.
        variables: what the replicas need in their environment.
        import_folders: where the Serve config's import paths are looked up.
    """

    settings: Settings
    paths: Paths
    variables: dict[str, str]
    import_folders: list[Path]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def uses_haproxy(self) -> bool:
        """Whether Serve's front door is HAProxy."""
        return uses_haproxy(self.settings.serve_mode)

    @property
    def notes(self) -> list[str]:
        """What the reader of `up` and `status` should know about the mode."""
        return [HAPROXY_MISSING] if self.settings.serve_mode == "fast" and not self.uses_haproxy else []

    def start(self) -> None:
        """Starts the head node; its dashboard's REST API says when it can be used."""
        remove_old_sessions(self.paths.ray)
        environment = self.environment()
        with self.paths.log("ray").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )

    def command(self) -> list[str]:
        """The command line."""
        port, client_port, agent_port, agent_grpc_port, metrics_port, env_agent_port = free_ports(6)
        command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
        command += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={self.paths.ray}"]
        command += ["--include-dashboard=true", "--dashboard-host=127.0.0.1"]
        command += [f"--dashboard-port={self.settings.dashboard_port}"]
        command += [
            f"--dashboard-agent-listen-port={agent_port}",
            f"--dashboard-agent-grpc-port={agent_grpc_port}",
        ]
        command += [f"--metrics-export-port={metrics_port}", f"--runtime-env-agent-port={env_agent_port}"]
        command += [f"--ray-client-server-port={client_port}"]
        # 0: each worker takes any free port. The default range is fixed, and two heads would share it.
        command += ["--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--object-store-memory={OBJECT_STORE_BYTES}", "--disable-usage-stats"]
        # A single node has nothing to scale and no driver that reads forwarded logs: two processes less.
        command += ["--no-monitor", "--include-log-monitor=false"]
        if self.settings.num_cpus is not None:
            command.append(f"--num-cpus={self.settings.num_cpus}")
        return command

    def environment(self) -> dict[str, str]:
        """The environment of Ray and all its workers."""
        environment = {**os.environ, **self.variables}
        # The first three would attach this head to somebody else's cluster; the last is of the person at the
        # terminal, and none of the models' business.
        for name in ("RAY_ADDRESS", "RAY_TMPDIR", "RAY_JOB_ID", "SATELLITE_API_KEY"):
            environment.pop(name, None)
        folders = [str(folder) for folder in self.import_folders]
        environment["PYTHONPATH"] = os.pathsep.join([*folders, environment.get("PYTHONPATH", "")]).rstrip(
            os.pathsep
        )
        fallback_port, dashboard_metrics_port, stats_port, metrics_port = free_ports(4)
        environment |= {
            # Without it Ray replaces 127.0.0.1 by the machine's address, and listens on all interfaces.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": "satellite.cli.ray_hook.keep_on_loopback",
            "DASHBOARD_METRIC_PORT": str(dashboard_metrics_port),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port),
            # Left alone, Ray asks everybody for a token as soon as one lies in the user's home, where each
            # `ray.init()` puts it. Nothing here can be reached from elsewhere.
            "RAY_AUTH_MODE": "disabled",
            # The supervisor has drained Serve before it stops Ray.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        }
        environment |= serve_environment(
            self.settings.serve_mode, self.paths.haproxy, stats_port=stats_port, metrics_port=metrics_port
        )
        return environment


def remove_old_sessions(folder: Path) -> None:
    """Frees what earlier runs left: all but the newest session, and of that one all but its logs.

    Only called while no Ray of this home runs.
    """
    sessions = sorted(path for path in folder.glob("session_2*") if path.is_dir() and not path.is_symlink())
    for session in sessions[:-1]:
        shutil.rmtree(session, ignore_errors=True)
    for session in sessions[-1:]:
        for entry in session.iterdir():
            if entry.name == "logs":
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
    (folder / "ray_current_cluster").unlink(missing_ok=True)


def session_folder(folder: Path) -> str:
    """The running session's folder; empty while there is none."""
    link = folder / "session_latest"
    return str(link.resolve()) if link.is_symlink() else ""
