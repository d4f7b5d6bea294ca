"""`satellite head` and `satellite worker`: one Ray node in the foreground, for containers and bare machines.

Unlike `satellite up`, they start no databases, and listen where the cluster's other nodes reach them. Whoever
starts them (a container engine, systemd) watches them and starts them again.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

from pydantic import SecretStr

from satellite.access.exposure import check_exposure, check_key_secret, is_loopback
from satellite.cli.ray_head import OBJECT_STORE_BYTES
from satellite.cli.rendering import Rendering
from satellite.cli.serve_api import ServeApi, wait_until_ready
from satellite.cli.serve_mode import serve_environment
from satellite.errors import ConfigError, EnvironmentProblem, SatelliteError
from satellite.settings import Settings

log = logging.getLogger("satellite.node")

METRICS_PORT = 8080  # where Prometheus finds every node
POLL_S = 0.5
# Deployments give back what they have not begun, and finish what they have.
SERVE_STOP_TIMEOUT_S = 30
RAY_STOP_TIMEOUT_S = 30


def head(settings: Settings, config_file: Path, *, address: str, port: int) -> int:
    """Run the head node, and deploy to it once it is up; returns when it has ended.

    Args:
        settings: of this node; `database_url` and `redis_url` must be set.
        config_file: the Serve config.
        address: of this machine, as the others reach it.
        port: where they join.

    Returns:
        The exit code: 0 after SIGTERM or SIGINT.

    Raises:
        ConfigError: a setting is missing, or the config cannot be deployed.
        EnvironmentProblem: Ray ended, or the deployments did not become ready.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if settings.database_url is None or settings.redis_url is None:
        raise ConfigError("SATELLITE_DATABASE_URL and SATELLITE_REDIS_URL must be set: it starts neither.")
    check_exposure(settings, settings.http_host)
    check_key_secret(settings)
    # Asked for a name, Ray's dashboard would listen on one of its addresses only.
    dashboard_host = "127.0.0.1" if is_loopback(address) else "0.0.0.0"
    command = [_ray(), "start", "--head", "--block", f"--node-ip-address={address}", f"--port={port}"]
    command += [f"--dashboard-host={dashboard_host}", f"--dashboard-port={settings.dashboard_port}"]
    command += [*_options(settings), "--include-log-monitor=false"]
    ray = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=_environment(settings, address))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def check() -> None:
        if stop.is_set():
            raise _Stopped
        if ray.poll() is not None:
            raise EnvironmentProblem(f"Ray ended (exit code {ray.returncode}).")

    dashboard_url = f"http://127.0.0.1:{settings.dashboard_port}"
    serve = ServeApi(dashboard_url, settings.ray_token)
    try:
        with Rendering(config_file, settings, dashboard_url) as rendering:
            while not serve.is_up():
                check()
                rendering.check()
                stop.wait(POLL_S)
            serve.put(rendering.result())
        wait_until_ready(
            serve,
            f"http://127.0.0.1:{settings.http_port}",
            timeout_s=settings.start_timeout_s,
            on_progress=log.info,
            check=check,
        )
        log.info("ready")
        while True:
            check()
            stop.wait(POLL_S)
    except _Stopped:
        log.info("stopping")
        return 0
    finally:
        if ray.poll() is None:
            serve.shut_down(timeout_s=SERVE_STOP_TIMEOUT_S)
            ray.send_signal(signal.SIGTERM)
            try:
                ray.wait(RAY_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                ray.kill()
        serve.close()


def worker(settings: Settings, head_address: str, *, address: str | None) -> NoReturn:
    """Become a node that joins the head.

    Args:
        settings: of this node.
        head_address: HOST:PORT of the head.
        address: of this machine, as the others reach it; None: Ray finds it.

    Raises:
        ConfigError: a setting is missing.
    """
    command = [_ray(), "start", f"--address={head_address}", "--block", *_options(settings)]
    if address is not None:
        command.append(f"--node-ip-address={address}")
    os.execve(command[0], command, _environment(settings, address or head_address.rpartition(":")[0]))


class _Stopped(SatelliteError):
    """Somebody asked for the end."""


def _ray() -> str:
    return str(Path(sys.executable).with_name("ray"))


def _options(settings: Settings) -> list[str]:
    cpus = [] if settings.num_cpus is None else [f"--num-cpus={settings.num_cpus}"]
    common = [f"--metrics-export-port={METRICS_PORT}", f"--object-store-memory={OBJECT_STORE_BYTES}"]
    return [*cpus, *common, "--disable-usage-stats"]


def _environment(settings: Settings, address: str) -> dict[str, str]:
    environment = {**os.environ, **serve_environment(settings.serve_mode, settings.home / "haproxy")}
    # A file of secrets is read by this process only: Ray's workers find the settings in their environment.
    for name in ("database_url", "redis_url", "key_secret"):
        if value := getattr(settings, name):
            text = value.get_secret_value() if isinstance(value, SecretStr) else value
            environment[f"SATELLITE_{name.upper()}"] = text
    folders = [str(settings.root), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, folders))
    if settings.ray_token is not None:
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": settings.ray_token.get_secret_value()}
    elif is_loopback(address):
        environment["RAY_AUTH_MODE"] = "disabled"
    else:
        raise ConfigError(
            f"SATELLITE_RAY_TOKEN must be set, as {address} is not loopback: who reaches Ray's ports may run "
            "any code (`openssl rand -hex 32` makes one; the same on every node)."
        )
    return environment
