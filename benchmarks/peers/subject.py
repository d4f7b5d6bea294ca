"""What all that is measured has in common: a URL, requests, and how to read the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from benchmarks.client import Answer
from satellite.settings import REPO_ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict:
    """The synchronous call."""

    request: bytes
    forecast: Callable[[Answer], list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jobs:
    """The durable call: it is answered once the job is stored, and the result is read later."""

    submit: bytes
    accepted: int  # the status of the answer to `submit`
    read: Callable[[Answer], bytes]  # from the answer to `submit`: the request that reads the result
    forecast: Callable[[Answer], list[float] | None]  # None: not finished, ask again


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Something that runs and answers."""

    name: str
    version: str
    url: str
    start_s: float  # from the command to the first right answer
    memory_mb: Callable[[], float]  # proportional set size of all its processes, databases included
    predict: Predict | None = None
    jobs: Jobs | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment with peers in it."""

    folder: Path

    def program(self, name: str) -> str:
        """The path of an installed command."""
        return str(self.folder / "bin" / name)

    def versions(self, *packages: str) -> str:
        """Names and versions of installed packages, for a reader."""
        site_packages = [str(path) for path in self.folder.glob("lib/python*/site-packages")]
        found = {item.metadata["Name"].lower(): item.version for item in distributions(path=site_packages)}
        return ", ".join(f"{package} {found.get(package, 'not installed')}" for package in packages)


PEERS = Environment(REPO_ROOT / ".venv-peers")
MLSERVER = Environment(REPO_ROOT / ".venv-mlserver")
