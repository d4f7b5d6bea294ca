"""`satellite logs`: the last lines of every part, and those to come."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path

from rich.text import Text

from satellite.cli.console import console
from satellite.cli.state import Paths
from satellite.errors import EnvironmentProblem
from satellite.settings import Settings

PARTS = ("supervisor", "postgres", "redis", "ray", "serve")
COLOURS = ("magenta", "blue", "red", "cyan", "green")
POLL_S = 0.3


def show(settings: Settings, *, part: str | None, follow: bool, lines: int, as_json: bool) -> None:
    """Prints the last lines of each file, and with `follow` all that come until Ctrl-C.

    Raises:
        EnvironmentProblem: no such part, or nothing was ever started.
    """
    if part is not None and part not in PARTS:
        raise EnvironmentProblem(f"There is no part {part!r}: choose one of {', '.join(PARTS)}.")
    paths = Paths(settings.home)
    files = log_files(paths, part)
    if not files and not follow:
        raise EnvironmentProblem(f"There are no logs below {paths.logs}: run `satellite up` first.")
    offsets: dict[Path, int] = {}
    for path, name in files.items():
        offsets[path] = path.stat().st_size
        for line in last_lines(path, lines):
            _print(name, path, line, with_prefix=part is None, as_json=as_json)
    while follow:
        for path, name in log_files(paths, part).items():
            new, offsets[path] = read_from(path, offsets.get(path, 0))
            for line in new:
                _print(name, path, line, with_prefix=part is None, as_json=as_json)
        time.sleep(POLL_S)


def log_files(paths: Paths, part: str | None) -> dict[Path, str]:
    """The log files of one part, or of all: path to part."""
    found: dict[Path, str] = {}
    for name in PARTS if part is None else (part,):
        folder_files = sorted(paths.serve_logs.glob("*.log")) if name == "serve" else [paths.log(name)]
        found.update({path: name for path in folder_files if path.is_file()})
    return found


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a text file."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=count)]


def read_from(path: Path, offset: int) -> tuple[list[str], int]:
    """The complete lines after an offset, and the offset after them; 0 where the file was replaced."""
    try:
        size = path.stat().st_size
        if size <= offset:
            return [], offset if size == offset else 0
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return [], 0
    complete = data[: data.rfind(b"\n") + 1]
    return complete.decode(errors="replace").splitlines(), offset + len(complete)


def _print(name: str, path: Path, line: str, *, with_prefix: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"part": name, "file": path.name, "line": line}), flush=True)
        return
    if not with_prefix:
        console.print(Text(line), soft_wrap=True)
        return
    label = path.stem if name == "serve" else name
    prefix = Text(f"{label:<12} ", COLOURS[PARTS.index(name)])
    console.print(prefix + Text(line), soft_wrap=True)
