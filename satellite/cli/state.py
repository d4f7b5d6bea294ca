"""Where things lie on disk, and what is known about the run that is up.

One folder (`SATELLITE_HOME`) holds everything. `run/state.json` tells any `satellite` command what runs and
where; its writer is the supervisor alone. `run/lock` is locked by the supervisor for as long as it lives: the
kernel gives the lock back however the supervisor ends, so nothing stale can block a start.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, Field, ValidationError

from satellite.errors import EnvironmentProblem
from satellite.settings import Settings

LAYOUT_VERSION = 1
# Exit code of a supervisor that finds another one in its home.
EXIT_LOCKED = 5

# A unix socket's path may have 107 bytes. Ray appends "/session_<26>_<pid>/sockets/<name>"; Serve's HAProxy
# appends "/<56 hex digits>/admin.sock.<pid>.tmp".
MAX_RAY_FOLDER_BYTES = 36
MAX_HAPROXY_FOLDER_BYTES = 27

Phase = Literal["starting", "ready", "stopping", "failed"]
PartState = Literal["waiting", "starting", "up", "failed", "external"]


class Paths:
    """Every file and folder below one home.

    Args:
        home: the folder named by `SATELLITE_HOME`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.expanduser().absolute()
        self.logs = self.home / "logs"
        self.run = self.home / "run"
        self.state = self.run / "state.json"
        self.lock = self.run / "lock"
        self.secrets = self.run / "secrets.json"
        self.version = self.home / "VERSION"
        self.postgres = self.home / "postgres"
        self.redis = self.home / "redis"
        # Ray opens its temp folder to everybody, so it lies inside one that is not.
        self.ray = short_folder(self.home, "ray/tmp", MAX_RAY_FOLDER_BYTES)
        self.haproxy = short_folder(self.home, "hap", MAX_HAPROXY_FOLDER_BYTES)

    @property
    def serve_logs(self) -> Path:
        """Serve's own log files, of the newest Ray session."""
        return self.ray / "session_latest" / "logs" / "serve"

    @property
    def scrape_targets(self) -> Path:
        """Ray's list of the nodes that export metrics, in Prometheus's file format."""
        return self.ray / "prom_metrics_service_discovery.json"

    def log(self, part: str) -> Path:
        """The log file of one part."""
        return self.logs / f"{part}.log"

    def create(self) -> None:
        """Makes the folders; those with secrets are for their owner only."""
        # Where the home is too long, the short folders' own parent must be ours too.
        short = {self.ray.parent.parent, self.haproxy.parent} - {self.home}
        private = (*short, self.logs, self.redis, self.run, self.ray.parent, self.haproxy)
        if not self.home.exists():
            self.home.mkdir(parents=True, mode=0o700)
        for folder in (*private, self.ray):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in private:
            if folder.stat().st_uid != os.geteuid():
                raise EnvironmentProblem(
                    f"{folder} belongs to another user: remove it or set SATELLITE_HOME."
                )
            folder.chmod(0o700)


def short_folder(home: Path, name: str, limit_bytes: int) -> Path:
    """`home/name`, or where that is too long for a unix socket, a short folder of its own for this home.

    Raises:
        EnvironmentProblem: the system's temp folder is too long as well.
    """
    folder = home / name
    if len(os.fsencode(folder)) <= limit_bytes:
        return folder
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:8]
    for temp in (Path(tempfile.gettempdir()), Path("/tmp")):
        folder = temp / f"sat-{digest}" / name
        if len(os.fsencode(folder)) <= limit_bytes and temp.is_dir():
            return folder
    raise EnvironmentProblem(
        f"SATELLITE_HOME={home} is too long for unix sockets: choose a path of at most "
        f"{MAX_HAPROXY_FOLDER_BYTES - 4} bytes."
    )


class ProcessRef(BaseModel):
    """A process named beyond doubt: a pid alone may belong to somebody else by now."""

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> ProcessRef:
        """The reference to a process that runs now."""
        return cls(pid=pid, create_time=psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if this very one is alive and not a zombie."""
        try:
            process = psutil.Process(self.pid)
            # Two clocks tick between the boot time and the start time: allow their rounding.
            same = abs(process.create_time() - self.create_time) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


class Part(BaseModel):
    """One part of the system as the supervisor sees it."""

    state: PartState = "waiting"
    process: ProcessRef | None = None
    address: str = ""
    message: str = ""
    began_at: float | None = Field(default=None, description="When its start began, seconds since the epoch.")
    ready_at: float | None = Field(default=None, description="When it was ready, seconds since the epoch.")
    restarts: int = 0

    @property
    def seconds(self) -> float | None:
        """How long its start took, or has taken so far."""
        return None if self.began_at is None else (self.ready_at or time.time()) - self.began_at


class State(BaseModel):
    """What is written to `run/state.json`."""

    run_id: str
    phase: Phase = "starting"
    supervisor: ProcessRef
    guard: ProcessRef | None = None
    started_at: float
    ready_at: float | None = None
    api_url: str
    dashboard_url: str
    database_url: str = ""
    redis_url: str = ""
    session_folder: str = ""
    models: str | None = None
    notes: list[str] = Field(default_factory=list)
    error: str = ""
    parts: dict[str, Part]

    @property
    def is_alive(self) -> bool:
        """Whether the supervisor of this run still runs."""
        return self.supervisor.process() is not None


def read_state(paths: Paths) -> State | None:
    """The last run's state; None where there is none or it is not readable (a power cut may truncate it)."""
    try:
        return State.model_validate_json(paths.state.read_bytes())
    except (OSError, ValidationError):
        return None


def local_ray_address() -> str | None:
    """The address of the Ray head that `satellite up` runs here, `host:port`; None if nothing is up."""
    paths = Paths(Settings().home)
    state = read_state(paths)
    if state is None or not state.is_alive:
        return None
    # Ray's own note of the cluster it runs with this temp folder.
    return (paths.ray / "ray_current_cluster").read_text().strip()


def write_private(path: Path, text: str) -> None:
    """Replaces a file in one step, readable by its owner only."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


def write_state(paths: Paths, state: State) -> None:
    """Replaces the state file."""
    write_private(paths.state, state.model_dump_json(indent=1))


def lock_is_free(paths: Paths) -> bool:
    """Whether no supervisor holds this home."""
    with lock_home(paths) as taken:
        return taken


@contextlib.contextmanager
def lock_home(paths: Paths) -> Generator[bool]:
    """Holds the home's lock while the block runs; yields False where another process has it."""
    paths.run.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
