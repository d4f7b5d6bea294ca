"""`satellite check-model`: a model's contract on one screen."""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

from rich.table import Table
from rich.text import Text

from satellite.cli.console import EXIT_FAILED, CommandFailed, console, fail
from satellite.config import load_model_config
from satellite.contract import Check, Report, check_model
from satellite.errors import ConfigError, ModelDefinitionError
from satellite.model import ModelSpec
from satellite.registry import load_model, model_files
from satellite.settings import Settings


def run(settings: Settings, name: str, *, device: str, as_json: bool) -> int:
    """Prints the report.

    Returns:
        0: the contract holds; 1: it does not.

    Raises:
        CommandFailed: there is no such model.
    """
    # A replica finds the root's packages first, whatever checkout this command comes from.
    sys.path.insert(0, str(settings.root))
    # What the model raises is part of the report.
    logging.getLogger("satellite").addHandler(logging.NullHandler())
    files = [Path(name)] if name.endswith(".py") else files_of(settings, name)
    if not files or not files[0].is_file():
        raise CommandFailed(_unknown(settings, name))
    try:
        specs = [load_model(file) for file in files]  # of two with one name the second says so
    except ModelDefinitionError as error:
        hint = "docs/MODELS.md describes the contract"
        checks = (Check(name="register", passed=False, detail=str(error), hint=hint),)
        report = Report(model=name, version="", place=str(files[0]), device=device, checks=checks, speed=None)
    else:
        spec = specs[0]
        report = check_model(spec, device, torch_threads=settings.torch_threads)
        found = Check(name="register", passed=True, detail=_short(spec.file)), _config_check(settings, spec)
        report = replace(report, checks=(*found, *report.checks))
    if as_json:
        print(json.dumps({**asdict(report), "passed": report.passed}, indent=1))
    else:
        _show(report)
        if not report.passed:
            fail(f"The contract does not hold: {', '.join(c.name for c in report.checks if not c.passed)}.")
    return 0 if report.passed else EXIT_FAILED


def files_of(settings: Settings, name: str, *more: Path) -> list[Path]:
    """The files that register a model of this name, judged by their text; nothing is imported."""
    said = re.compile(rf"""register_model\(\s*["']{re.escape(name)}["']""")
    folders = [folder for folder in (*settings.model_folders, *more) if folder.is_dir()]
    return [
        file
        for folder in dict.fromkeys(folder.resolve() for folder in folders)
        for file in model_files(folder)
        if said.search(file.read_text(encoding="utf-8", errors="replace"))
    ]


def _unknown(settings: Settings, name: str) -> str:
    known = [
        file.stem for folder in settings.model_folders if folder.is_dir() for file in model_files(folder)
    ]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}."
    folders = ", ".join(_short(folder) for folder in settings.model_folders)
    return f"No file in {folders} registers a model '{name}'; {hint}"


def _config_check(settings: Settings, spec: ModelSpec) -> Check:
    configs = settings.model_configs(Path(spec.file).parent)
    file = configs / f"{spec.name}.yaml"
    try:
        load_model_config(configs, spec.name)
    except ConfigError as error:
        return Check(
            name="config", passed=False, detail=str(error), hint="satellite/config.py describes every field"
        )
    seen = _short(file) if file.exists() else f"the defaults: there is no {_short(file)}"
    return Check(name="config", passed=True, detail=seen)


def _show(report: Report) -> None:
    console.print(Text(f"{report.model} {report.version} on {report.device}", "bold"))
    table = Table.grid(padding=(0, 2))
    for check in report.checks:
        mark = Text("✓", "green") if check.passed else Text("✗", "red")
        table.add_row(mark, Text(check.name), Text(check.detail))
        if not check.passed and check.hint:
            table.add_row("", "", Text(f"{check.hint}.", "yellow"))
    if speed := report.speed:
        gain = 8 * speed.one_ms / speed.eight_ms
        words = (
            f"1 in {speed.one_ms:.3g} ms, 8 in {speed.eight_ms:.3g} ms: batches do {gain:.1f} times as much"
        )
        table.add_row("", Text("speed"), Text(words))
        table.add_row("", Text("memory"), Text(f"{speed.memory_bytes / 1e6:.0f} MB more after `load`"))
    console.print(table)


def _short(path: Path | str) -> str:
    """Relative to here where that is shorter."""
    try:
        return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)
    except OSError:
        return str(path)
