"""A system of the benchmark's own: its data, its ports, started and stopped as a user does it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from satellite.cli.processes import find_run, memory_bytes
from satellite.cli.ray_head import free_ports
from satellite.cli.state import Paths, read_state
from satellite.settings import REPO_ROOT

SATELLITE = Path(sys.executable).with_name("satellite")
MODELS = Path(__file__).parent / "satellite_models"


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A running system."""

    url: str
    start_s: float  # from the command to its return, which is when /health/ready answers 200
    paths: Paths

    def memory_mb(self) -> dict[str, float]:
        """Proportional set size by program, databases and supervisor included."""
        state = read_state(self.paths)
        assert state is not None and state.guard is not None
        sizes: dict[str, float] = {}
        for process in find_run(
            state.run_id, session=state.supervisor, roots=[state.supervisor, state.guard]
        ):
            with suppress(psutil.NoSuchProcess):  # one that PostgreSQL or Ray had for a moment only
                command = process.cmdline()
                name = (
                    command[0].split("::", 1)[-1]
                    if command and command[0].startswith("ray::")
                    else process.name()
                )
                sizes[name] = sizes.get(name, 0) + memory_bytes(process) / 2**20
        return sizes


def make_root(root: Path, models: Sequence[str]) -> None:
    """Fill a folder as the checkout is, but with the benchmark's own `models` in place of the usual ones."""
    shutil.copytree(REPO_ROOT / "configs/environments", root / "configs/environments")
    shutil.copy(REPO_ROOT / "serve_config.yaml", root)
    for folder in ("models", "configs/models"):
        (root / folder).mkdir(parents=True)
    for model in models:
        shutil.copy(MODELS / f"{model}.py", root / "models")
        shutil.copy(MODELS / f"{model}.yaml", root / "configs/models")


@contextmanager
def running(
    home: Path, *, root: Path = REPO_ROOT, settings: Mapping[str, str] | None = None
) -> Generator[System]:
    """Start a system and stop it.

    Args:
        home: where its data goes.
        root: the folder with its models and configs, see `make_root`.
        settings: further environment variables.
    """
    http_port, dashboard_port = free_ports(2)
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPO_ROOT),  # the benchmark's models import it
        "SATELLITE_HOME": str(home),
        "SATELLITE_ROOT": str(root),
        "SATELLITE_HTTP_PORT": str(http_port),
        "SATELLITE_DASHBOARD_PORT": str(dashboard_port),
        **(settings or {}),
    }
    command = [SATELLITE, "up", "--config", str(root / "serve_config.yaml")]
    began = time.perf_counter()
    try:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        start_s = time.perf_counter() - began
        yield System(url=f"http://127.0.0.1:{http_port}", start_s=start_s, paths=Paths(home))
    finally:
        subprocess.run([SATELLITE, "down"], env=environment, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def scratch_home() -> Generator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sat-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
