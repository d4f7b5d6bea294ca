"""The processes of one peer: started with a mark, found by it, counted and stopped together."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil

from benchmarks.client import Answer, Connection
from benchmarks.system import scratch_home
from satellite.cli.processes import RUN_ID_VARIABLE, find_run, memory_bytes, stop_run
from satellite.cli.state import ProcessRef
from satellite.settings import REPO_ROOT

START_LIMIT_S = 90
ANSWER_LIMIT_S = 10
GRACE_S = 3


class DidNotStart(Exception):
    """A peer that is not there; the text says why."""


@dataclass(slots=True)
class Processes:
    """What runs for one peer.

    Args:
        folder: for its files and its log.
    """

    folder: Path
    run_id: str = field(default_factory=lambda: f"bench-{uuid4().hex}")
    roots: list[ProcessRef] = field(default_factory=list)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        """What all of them print."""
        return self.folder / "output.log"

    def start(self, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
        """Start a program in a session of its own."""
        if not Path(command[0]).exists():
            raise DidNotStart(f"{Path(command[0]).name} is not installed: run `make bench`")
        variables = {
            **os.environ,
            "PYTHONPATH": str(REPO_ROOT),
            # torch.set_num_threads holds for its own thread; a server may run the model in another one.
            "OMP_NUM_THREADS": "1",
            RUN_ID_VARIABLE: self.run_id,
        }
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env={**variables, **(environment or {})},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.add(process)

    def add(self, process: subprocess.Popen[bytes] | None) -> None:
        """Count a program that was started elsewhere."""
        assert process is not None
        self._started.append(process)
        self.roots.append(ProcessRef.of(process.pid))

    def memory_mb(self) -> float:
        """Their proportional set size together."""
        found: dict[int, psutil.Process] = {}
        for root in self.roots:
            found |= {
                process.pid: process for process in find_run(self.run_id, session=root, roots=self.roots)
            }
        return sum(memory_bytes(process) for process in found.values()) / 2**20

    def check(self) -> None:
        """Raises `DidNotStart` if one of them has ended."""
        for process in self._started:
            if process.poll() is not None:
                raise DidNotStart(f"exit code {process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """The last lines that were printed."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return " | ".join(line.strip() for line in lines[-3:])[-400:]

    def stop(self) -> None:
        """Stop them, the last started first: databases end after those that use them."""
        for root, process in reversed(list(zip(self.roots, self._started, strict=True))):
            stop_run(f"{self.run_id}/none", session=root, roots=[root], grace_s=GRACE_S)
            process.wait()
        for root in self.roots:  # what has left its parent and its session
            stop_run(self.run_id, session=root, roots=self.roots, grace_s=GRACE_S)


@contextmanager
def own_processes() -> Generator[Processes]:
    """A folder and processes that are gone afterwards."""
    with scratch_home() as folder:
        processes = Processes(folder)
        try:
            yield processes
        finally:
            processes.stop()


def first_answer(processes: Processes, url: str, request: bytes, *, status: int = 200) -> Answer:
    """Ask until the answer has the wanted status.

    Raises:
        DidNotStart: a program ended, or the answer does not come in time.
    """
    return asyncio.run(_first_answer(processes, url, request, status))


async def _first_answer(processes: Processes, url: str, request: bytes, status: int) -> Answer:
    deadline = time.monotonic() + START_LIMIT_S
    seen = "no connection"
    while time.monotonic() < deadline:
        processes.check()
        try:
            connection = await Connection.open(url)
            try:
                async with asyncio.timeout(ANSWER_LIMIT_S):
                    answer = await connection.send(request)
            finally:
                connection.close()
            if answer.status == status:
                return answer
            seen = f"{answer.status} {answer.body[:200]!r}"
        except (OSError, TimeoutError) as exc:
            seen = str(exc) or type(exc).__name__
        await asyncio.sleep(0.05)
    raise DidNotStart(f"not ready after {START_LIMIT_S} s ({seen}): {processes.last_words()}")
