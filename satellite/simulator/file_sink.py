"""Writes to a file what would be sent: JSONL holds requests, CSV and Parquet what the devices measured.

The same seed writes the same bytes. A JSONL file is one that `satellite batch` runs, the others are those
that a replay reads. In them a gap is missing rows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self

import numpy as np

from satellite.errors import ConfigError
from satellite.simulator.readings import Reading
from satellite.simulator.series import Kind
from satellite.simulator.sinks import Asked, Ending

COLUMNS = ("timestamp", "device", "channel", "value", "anomaly")
# Rows that a Parquet file gathers before it writes them.
GROUP = 50_000


class _Writer(Protocol):
    def write(self, number: int, reading: Reading) -> None: ...

    def close(self) -> None: ...


class FileSink:
    """Appends to a new file; what was there is replaced.

    Args:
        path: ends in `.jsonl`, `.csv` or `.parquet`.
        asked: what is asked of every reading; only JSONL holds it.

    Raises:
        ConfigError: it ends otherwise.
    """

    def __init__(self, path: Path, asked: Asked) -> None:
        kinds: dict[str, Callable[[], _Writer]] = {
            ".jsonl": lambda: _Jsonl(path, asked),
            ".csv": lambda: _Csv(path),
            ".parquet": lambda: _Parquet(path),
        }
        if path.suffix not in kinds:
            raise ConfigError(f"--output {path}: its name must end in {', '.join(kinds)}")
        self._path, self._open = path, kinds[path.suffix]

    async def send(self, number: int, reading: Reading, accepted: Callable[[], None]) -> Ending:
        """Writes one reading."""
        self._writer.write(number, reading)
        accepted()
        return Ending(status="written")

    async def __aenter__(self) -> Self:
        try:
            self._writer = self._open()
        except OSError as error:
            raise ConfigError(f"--output {self._path}: {error.strerror}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()


def rows(reading: Reading) -> list[tuple[float, float, str]]:
    """What is new in a reading: seconds since 1970, value, and the name of an anomaly. Gaps have none."""
    fresh = slice(len(reading.values) - reading.fresh, None)
    return [
        (at_s, value, Kind(kind).label)
        for at_s, value, kind in zip(
            reading.times_s[fresh].tolist(),
            reading.values[fresh].tolist(),
            reading.kinds[fresh].tolist(),
            strict=True,
        )
        if not np.isnan(value)
    ]


class _Jsonl:
    def __init__(self, path: Path, asked: Asked) -> None:
        self._file, self._asked = path.open("w", encoding="utf-8"), asked

    def write(self, number: int, reading: Reading) -> None:
        request = {"custom_id": f"{reading.device}-{number}", **self._asked.body(reading)}
        self._file.write(json.dumps(request, separators=(",", ":")) + "\n")

    def close(self) -> None:
        self._file.close()


class _Csv:
    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def write(self, number: int, reading: Reading) -> None:
        for at_s, value, anomaly in rows(reading):
            at = datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
            self._writer.writerow((at, reading.device, reading.channel, value, anomaly))

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path) -> None:
        pa, pq = load_parquet()
        types = (pa.timestamp("us", tz="UTC"), pa.string(), pa.string(), pa.float64(), pa.string())
        self._pa: Any = pa
        self._schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[tuple[Any, ...]] = []

    def write(self, number: int, reading: Reading) -> None:
        self._rows += [
            (datetime.fromtimestamp(at_s, UTC), reading.device, reading.channel, value, anomaly)
            for at_s, value, anomaly in rows(reading)
        ]
        if len(self._rows) >= GROUP:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [()] * len(COLUMNS)
        arrays = [
            self._pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []


def load_parquet() -> tuple[Any, Any]:
    """`pyarrow` and `pyarrow.parquet`, which nothing else in Satellite needs.

    Raises:
        ConfigError: they are not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise ConfigError("Parquet files need pyarrow: pip install pyarrow, or use CSV") from None
    return pa, pq
