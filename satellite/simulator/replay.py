"""Sends again what was measured once: a CSV or Parquet file, at its own pace or another one."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from satellite.errors import ConfigError
from satellite.simulator.file_sink import load_parquet
from satellite.simulator.readings import Cut, Reading
from satellite.simulator.series import Floats, Kind, Kinds

# A series with more holes than this times its rows is not laid on an even grid.
MOST_HOLES = 4
_KINDS = {kind.label: kind for kind in Kind}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The names of a file's columns; those of device and channel may be missing in it."""

    time: str = "timestamp"
    value: str = "value"
    device: str = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The series of one device. Where rows are missing, values are NaN."""

    device: str
    channel: str
    times_s: Floats
    values: Floats
    kinds: Kinds


def parse_speed(text: str) -> float | None:
    """How many seconds of the file pass in a second; None for `max`.

    Raises:
        ConfigError: it is no number above 0.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise ConfigError(
            f"--speed {text!r}: give a number above 0, such as 60 for a minute a second, or max"
        )
    return speed


def read(path: Path, columns: Columns) -> list[Recorded]:
    """All series of a file, which is held in memory.

    Args:
        path: ends in `.csv` or `.parquet`. Times are ISO 8601 (UTC unless they say otherwise) or seconds
            since 1970. Columns `channel` and `anomaly`, as the simulator writes them, are used if there.
        columns: what is where.

    Raises:
        ConfigError: the file cannot be read, a column is missing, or a cell is not what it should be.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--replay {path}: its name must end in .csv or .parquet")
    series: dict[str, list[tuple[float, float, int]]] = {}
    channels: dict[str, str] = {}
    try:
        records = _csv(path, columns) if path.suffix == ".csv" else _parquet(path, columns)
        for number, record in enumerate(records, start=1):
            try:
                row = (
                    _seconds(record[columns.time]),
                    _number(record[columns.value]),
                    _KINDS[record.get("anomaly") or ""],
                )
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigError(f"--replay {path}, row {number}: {error}") from None
            device = str(record.get(columns.device) or "device")
            series.setdefault(device, []).append(row)
            channels.setdefault(device, str(record.get("channel") or columns.value))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--replay {path}: {error}") from None
    return [_even(device, channels[device], sorted(rows)) for device, rows in sorted(series.items())]


def readings(
    recorded: list[Recorded], cut: Cut, *, speed: float | None
) -> Iterator[tuple[float | None, Reading]]:
    """The readings of all devices in the order of time, and when each is due, in seconds from the first.

    Args:
        recorded: what was measured.
        cut: how long the readings are.
        speed: seconds that pass in a second; None: nothing is due at a certain time.
    """
    merged = heapq.merge(
        *(_readings(series, cut) for series in recorded), key=lambda found: found.times_s[-1]
    )
    begin: float | None = None
    for reading in merged:
        at = float(reading.times_s[-1])
        begin = at if begin is None else begin
        yield None if speed is None else (at - begin) / speed, reading


def _readings(series: Recorded, cut: Cut) -> Iterator[Reading]:
    for end in range(cut.points, len(series.values) + 1, cut.stride):
        part = slice(end - cut.points, end)
        if np.isnan(series.values[part]).all():
            continue
        yield Reading(
            device=series.device,
            channel=series.channel,
            times_s=series.times_s[part],
            values=series.values[part],
            kinds=series.kinds[part],
            truth=series.values[end : end + cut.horizon],
            fresh=cut.points if end == cut.points else min(cut.stride, cut.points),
        )


def _even(device: str, channel: str, rows: list[tuple[float, float, int]]) -> Recorded:
    """Lays rows on an even grid, where they allow it, so that missing ones are seen."""
    times_s, values = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    kinds = np.array([row[2] for row in rows], np.uint8)
    steps = np.diff(times_s)
    step_s = float(np.median(steps)) if len(steps) else 0.0
    if step_s > 0:
        places = np.round((times_s - times_s[0]) / step_s).astype(np.int64)
        length = int(places[-1]) + 1
        if (np.diff(places) > 0).all() and length <= (1 + MOST_HOLES) * len(rows):
            even, even_kinds = np.full(length, np.nan), np.zeros(length, np.uint8)
            even[places], even_kinds[places] = values, kinds
            times_s, values, kinds = times_s[0] + step_s * np.arange(length), even, even_kinds
    return Recorded(device=device, channel=channel, times_s=times_s, values=values, kinds=kinds)


def _csv(path: Path, columns: Columns) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        _check(path, columns, list(reader.fieldnames or ()))
        yield from reader


def _parquet(path: Path, columns: Columns) -> Iterator[dict[str, Any]]:
    pa, pq = load_parquet()
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check(path, columns, names)
            used = [
                n for n in names if n in {columns.time, columns.value, columns.device, "channel", "anomaly"}
            ]
            for batch in file.iter_batches(columns=used):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise ConfigError(f"--replay {path}: {error}") from None


def _check(path: Path, columns: Columns, names: list[str]) -> None:
    for option, name in (("--time-column", columns.time), ("--value-column", columns.value)):
        if name not in names:
            raise ConfigError(f"--replay {path} has no column {name!r}; name one with {option}: {names}")


def _number(cell: Any) -> float:
    """A value; an empty cell is a gap."""
    value = float("nan") if cell is None or cell == "" else float(cell)
    if np.isinf(value):
        raise ValueError("a value is infinite")
    return value


def _seconds(cell: Any) -> float:
    if isinstance(cell, datetime):
        at = cell
    else:
        try:
            return float(cell)
        except ValueError:
            at = datetime.fromisoformat(cell)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
