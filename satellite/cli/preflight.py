"""What must be true before anything is started: each check is one line that says what to do.

All checks run before the first process starts, so that a start that cannot work leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import socket
import sys
from pathlib import Path

import psutil

from satellite.access.exposure import check_exposure
from satellite.cli.processes import who_listens
from satellite.cli.serve_api import render_config
from satellite.cli.state import LAYOUT_VERSION, Paths
from satellite.errors import ConfigError, EnvironmentProblem
from satellite.settings import Settings

POSTGRES_MAJOR = 18
MIN_MEMORY_BYTES = 2 * 1024**3
MIN_DISK_BYTES = 1024**3
CONNECT_TIMEOUT_S = 5


def check_platform(platform: str = sys.platform) -> None:
    """Satellite runs where Ray's head node and PostgreSQL's wheel run.

    Raises:
        EnvironmentProblem: this is Windows.
    """
    if platform == "win32":
        raise EnvironmentProblem(
            "Windows is not supported: run Satellite inside WSL 2, or with compose.yaml."
        )


def check_all(settings: Settings, paths: Paths, config_file: Path) -> None:
    """Every check, cheapest first.

    Raises:
        ConfigError: the Serve config is not there, or is none.
        EnvironmentProblem: the first thing that would stop the system from running.
    """
    if not config_file.is_file():
        raise ConfigError(f"{config_file} does not exist: name the Serve config with --config FILE.")
    render_config(config_file, settings)
    check_exposure(settings, settings.http_host)
    check_home(paths)
    check_version(paths)
    check_disk(paths.home)
    check_memory()
    check_port(settings.http_host, settings.http_port, "SATELLITE_HTTP_PORT")
    check_port("127.0.0.1", settings.dashboard_port, "SATELLITE_DASHBOARD_PORT")
    check_external(settings)


def check_home(paths: Paths) -> None:
    """The home folder exists, or can be made, and can be written."""
    try:
        paths.create()
        probe = paths.run / f"probe.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as exc:
        raise EnvironmentProblem(
            f"SATELLITE_HOME={paths.home} cannot be written ({exc.strerror}): set it to a folder of yours."
        ) from None


def check_version(paths: Paths) -> None:
    """The data was written by this layout and this PostgreSQL major; a new home gets its VERSION file.

    Raises:
        EnvironmentProblem: the data belongs to another version.
    """
    here = {"layout": LAYOUT_VERSION, "postgres": POSTGRES_MAJOR}
    if paths.version.exists():
        try:
            found = json.loads(paths.version.read_text())
            layout, major = found["layout"], found["postgres"]
        except (ValueError, KeyError, TypeError):
            raise EnvironmentProblem(
                f"{paths.version} is damaged: set SATELLITE_HOME to another folder, or write "
                f"{json.dumps(here)} into it if this version made the data."
            ) from None
        if layout != LAYOUT_VERSION:
            raise EnvironmentProblem(
                f"{paths.home} has data layout {layout}, this Satellite uses {LAYOUT_VERSION}: "
                "use the Satellite that wrote it, or set SATELLITE_HOME to another folder."
            )
    else:
        major = POSTGRES_MAJOR
    pg_version = paths.postgres / "data" / "PG_VERSION"
    if pg_version.is_file():
        major = int(pg_version.read_text().strip() or 0)
    if major != POSTGRES_MAJOR:
        raise EnvironmentProblem(
            f"{paths.home} holds data of PostgreSQL {major}, this Satellite brings {POSTGRES_MAJOR}: "
            "move it with pg_dump and pg_restore, or set SATELLITE_HOME to another folder."
        )
    if not paths.version.exists():
        paths.version.write_text(json.dumps(here) + "\n")


def check_disk(folder: Path, needed_bytes: int = MIN_DISK_BYTES) -> None:
    """Enough free disk below the home."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise EnvironmentProblem(
            f"Only {free_bytes / 1024**3:.1f} GB of disk are free below {folder}, "
            f"{needed_bytes / 1024**3:.1f} GB are needed: free some, or set SATELLITE_HOME to another disk."
        )


def check_memory(needed_bytes: int = MIN_MEMORY_BYTES) -> None:
    """Enough free memory for Ray, the databases and the models."""
    free_bytes = psutil.virtual_memory().available
    if free_bytes < needed_bytes:
        raise EnvironmentProblem(
            f"Only {free_bytes / 1024**3:.1f} GB of memory are free, "
            f"{needed_bytes / 1024**3:.1f} GB are needed: stop other programs first."
        )


def check_port(host: str, port: int, setting: str) -> None:
    """Nothing listens on a port that this system will listen on.

    Raises:
        EnvironmentProblem: it is taken, or may not be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do it: a connection in TIME_WAIT must not look like a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                raise EnvironmentProblem(
                    f"Port {port} is taken by {who_listens(port)}: stop it, or set {setting} to a free port."
                ) from None
            raise EnvironmentProblem(
                f"Cannot listen on {host}:{port} ({exc.strerror}): set {setting}, or SATELLITE_HTTP_HOST."
            ) from None


def check_external(settings: Settings) -> None:
    """The databases that were named answer; imports only what is asked for.

    Raises:
        EnvironmentProblem: one does not answer.
    """
    if settings.database_url:
        import asyncpg

        async def connect(url: str) -> None:
            connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S)
            await connection.close()

        try:
            asyncio.run(connect(settings.database_url))
        except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            raise EnvironmentProblem(
                f"SATELLITE_DATABASE_URL does not work ({_reason(exc)}): correct it, or unset it to start an "
                "embedded PostgreSQL."
            ) from None
    if settings.redis_url:
        import redis

        try:
            client = redis.Redis.from_url(settings.redis_url, socket_connect_timeout=CONNECT_TIMEOUT_S)
            client.ping()
            client.close()
        except (OSError, ValueError, redis.RedisError) as exc:
            raise EnvironmentProblem(
                f"SATELLITE_REDIS_URL does not work ({_reason(exc)}): correct it, or unset it to start "
                "an embedded Redis."
            ) from None


def _reason(exc: Exception) -> str:
    """One line of an exception, without the secrets a URL may hold."""
    text = str(exc).strip().splitlines()
    return text[0] if text else type(exc).__name__
