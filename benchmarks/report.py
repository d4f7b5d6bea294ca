"""Results as tables: on the screen, and in docs/BENCHMARKS.md, which is put together from what was saved.

A benchmark makes sections and saves them under its name; the document holds the sections of all names.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
from rich.table import Table

from satellite.settings import REPO_ROOT

DOCUMENT = REPO_ROOT / "docs/BENCHMARKS.md"
SAVED = REPO_ROOT / "benchmarks/results"  # what the document is made of
FIRST = ("comparison",)  # the other names follow in alphabetical order

HEAD = """# Benchmarks

What was measured, on what, and how to repeat it. Written by `python -m benchmarks --docs` out of
`benchmarks/results/`; edit the benchmarks, not this file.

`make bench` runs the comparison in about ten minutes, `python -m benchmarks --help` lists what else there is.
Load and servers share the machine, as on anybody's desk: compare the rows with each other, not with another
machine's.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, a few sentences, and a table; `images` are paths relative to the document."""

    title: str
    text: str
    rows: tuple[Mapping[str, str], ...]
    images: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The headings of the table: the first row's keys."""
        return tuple(self.rows[0]) if self.rows else ()

    def markdown(self) -> str:
        """The section as it stands in the document."""
        blocks = [f"### {self.title}", self.text.strip()]
        if self.rows:
            lines = [self.columns, tuple("---" for _ in self.columns)]
            lines += [tuple(row.get(column, "") for column in self.columns) for row in self.rows]
            blocks.append(
                "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
            )
        blocks += [f"![{self.title}]({image})" for image in self.images]
        return "\n\n".join(block for block in blocks if block)

    def table(self) -> Table:
        """The section for the screen."""
        table = Table(*self.columns, title=self.title, caption=self.text)
        for row in self.rows:
            table.add_row(*(row.get(column, "") for column in self.columns))
        return table


def section(
    title: str, text: str, rows: Sequence[Mapping[str, str]], *, images: Sequence[str] = ()
) -> Section:
    """A section out of rows, each a mapping from the column's heading to the cell."""
    return Section(title=title, text=text, rows=tuple(rows), images=tuple(images))


def save(
    folder: Path,
    name: str,
    *,
    title: str,
    sections: Sequence[Section],
    data: Mapping[str, Any] | None = None,
    place: str | None = None,
) -> Path:
    """Save one benchmark's sections, with the machine and the day.

    Args:
        folder: `SAVED`, or one that no document is made of.
        name: of the benchmark; its earlier results are replaced.
        title: its heading in the document.
        sections: what the document shows.
        data: what else belongs to it, for programs.
        place: the machine and the day; "" where each section has its own; None: here and now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    saved = {
        "title": title,
        "place": here_and_now() if place is None else place,
        "sections": [asdict(part) for part in sections],
        "data": data or {},
    }
    path.write_bytes(orjson.dumps(saved, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path


def load(folder: Path, name: str) -> dict[str, Any] | None:
    """What was saved under a name, if anything was."""
    path = folder / f"{name}.json"
    return orjson.loads(path.read_bytes()) if path.exists() else None


def write_document(folder: Path = SAVED, path: Path = DOCUMENT) -> None:
    """Write the document out of everything saved in `folder`."""
    names = sorted((file.stem for file in folder.glob("*.json")), key=lambda name: (name not in FIRST, name))
    blocks = [HEAD.strip()]
    for name in names:
        saved = load(folder, name)
        assert saved is not None
        blocks += [f"## {saved['title']}", *filter(None, [saved["place"]])]
        blocks += [
            section(part["title"], part["text"], part["rows"], images=part["images"]).markdown()
            for part in saved["sections"]
        ]
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def here_and_now() -> str:
    """Where and when a measurement was made, for a reader."""
    return f"{machine()}. Measured on {datetime.now(UTC).date().isoformat()}."


def machine() -> str:
    """The hardware and the system, for a reader."""
    memory_gib = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{cpu_model()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB of memory, {system}"


def cpu_model() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def ratio(value: float | None, base: float | None) -> str:
    """How many times `base`; empty where one is missing."""
    return f"{value / base:.2f}" if value is not None and base else ""


def number(value: float | None, unit: str = "") -> str:
    """A figure with three digits that count; a dash where there is none."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}{unit}"
