"""The comparison's tables, and the saved rows they are made of."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks import report
from benchmarks.compare import JOB_CLIENTS, SUBJECTS, Row
from benchmarks.peers.subject import PEERS
from benchmarks.report import Section, number, ratio, section
from satellite.settings import REPO_ROOT

NAME = "comparison"
BASE = "satellite"
IMAGES = ("throughput", "latency", "jobs")

Rows = Mapping[str, Row]


def load_rows(folder: Path) -> dict[str, Row]:
    """The rows that were saved on this machine, so that one subject can be measured again."""
    saved = report.load(folder, NAME)
    if saved is None or not saved["place"].startswith(report.machine()):
        return {}
    return {name: Row(**row) for name, row in saved["data"]["rows"].items()}


def save_rows(folder: Path, rows: Rows, images: Path | None = None) -> list[Section]:
    """Save rows and their tables, in the order of `SUBJECTS`.

    Args:
        folder: where to.
        rows: by the subject's key.
        images: the folder for plots; None: no plots.
    """
    rows = {name: rows[name] for name in SUBJECTS if name in rows}
    drawn = IMAGES if images and draw_is_possible() else ()
    sections = make_sections(rows, drawn)
    data = {"rows": {name: asdict(row) for name, row in rows.items()}}
    path = report.save(folder, NAME, title="Satellite and its peers", sections=sections, data=data)
    if images and drawn:
        plots = [PEERS.program("python"), "-m", "benchmarks.plots", str(path), str(images)]
        subprocess.run(plots, cwd=REPO_ROOT, check=True)
    return sections


def draw_is_possible() -> bool:
    """Whether the environment with the plotting library is there."""
    return Path(PEERS.program("python")).exists()


def make_sections(rows: Rows, images: tuple[str, ...] = ()) -> list[Section]:
    """The tables. "x Satellite" is the figure to its left, divided by Satellite's."""
    sections = [_predict(rows), _jobs(rows), _rest(rows)]
    shown = (images[:2], images[2:], ())
    sections = [
        section(part.title, part.text, part.rows, images=[f"images/bench-{name}.svg" for name in names])
        for part, names in zip(sections, shown, strict=True)
        if part.rows
    ]
    return [*sections, _what_ran(rows)]


def _predict(rows: Rows) -> Section:
    base = rows[BASE].figures if BASE in rows else {}
    table = []
    for row in rows.values():
        figures = row.figures
        if "predict_1_p50_ms" not in figures:
            continue
        cells = {"": row.name, "1 client: p50 ms": number(figures["predict_1_p50_ms"])}
        for clients in (32, 256):
            key = f"predict_{clients}_per_s"
            cells |= {
                f"{clients} clients: /s": number(figures.get(key)),
                f"x Satellite ({clients})": ratio(figures.get(key), base.get(key)),
                f"p50 ms ({clients})": number(figures.get(f"predict_{clients}_p50_ms")),
                f"p99 ms ({clients})": number(figures.get(f"predict_{clients}_p99_ms")),
            }
        table.append(cells)
    text = (
        "One request, one answer: 24 numbers to a one-layer LSTM of 64 units, 5 numbers back, in batches of "
        "up to 8. Medians of a few rounds, one subject after the other, on a machine that other tenants "
        "slow down now and then: a quarter between two runs of the same subject is usual, and a factor of "
        "two happened, so small ratios say nothing."
    )
    return section("Synchronous predict", text, table)


def _jobs(rows: Rows) -> Section:
    base = rows[BASE].figures if BASE in rows else {}
    table = []
    for row in rows.values():
        figures = row.figures
        if "jobs_per_s" not in figures:
            continue
        table.append(
            {
                "": row.name,
                "accepted/s": number(figures["accepts_per_s"]),
                "x Satellite (accepted)": ratio(figures["accepts_per_s"], base.get("accepts_per_s")),
                "accept p99 ms": number(figures["accepts_p99_ms"]),
                "finished/s": number(figures["jobs_per_s"]),
                "x Satellite (finished)": ratio(figures["jobs_per_s"], base.get("jobs_per_s")),
                "a lone job: ms": number(figures["lone_job_ms"]),
            }
        )
    text = (
        f"{JOB_CLIENTS} clients submit; a job counts as accepted when it is stored, and as finished when its "
        "result was read by the client. A lone job waits out the batch's window where there is one."
    )
    return section("Durable jobs", text, table)


def _rest(rows: Rows) -> Section:
    table = [
        {
            "": row.name,
            "start s": number(row.figures["start_s"]),
            "memory at rest MB": number(row.figures.get("memory_mb")),
            "after the load MB": number(row.figures.get("memory_after_mb")),
        }
        for row in rows.values()
        if row.figures
    ]
    text = (
        "From the command to the first right answer, with an empty data folder; the proportional set size of "
        "all processes, databases included."
    )
    return section("Start and memory", text, table)


def _what_ran(rows: Rows) -> Section:
    table = [
        {"": row.name, "version": row.version, "set up": _set_up(name), "trouble": row.problem}
        for name, row in rows.items()
    ]
    return section("What ran", "All with one thread of torch, without access logs, on loopback.", table)


def _set_up(name: str) -> str:
    """What the module that starts the subject says about itself."""
    running = SUBJECTS[name]
    function = running.func if isinstance(running, partial) else running
    return " ".join((sys.modules[function.__module__].__doc__ or "").split())
