"""Real series whose anomalies people have marked: the Numenta benchmark's, and two that packages ship.

Nothing here is needed to serve a model. The packages are not installed: their archives are read.
"""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One series, float64, oldest first, and which of its points are anomalies."""

    name: str
    points: NDArray[np.float64]
    labels: NDArray[np.bool_]


def read_nab(folder: Path) -> list[Labelled]:
    """The real series of the Numenta Anomaly Benchmark; those it made up are left out.

    A point is an anomaly if it lies in one of the benchmark's windows. One series has none, and no score can
    be given for it: it is left out too.

    Args:
        folder: a copy of the benchmark's repository: `data/real*/*.csv` and `labels/combined_windows.json`.

    Source: Ahmad, Lavin, Purdy and Agha, "Unsupervised real-time anomaly detection for streaming data",
    Neurocomputing 262 (2017). MIT License.
    """
    windows: dict[str, list[list[str]]] = json.loads((folder / "labels/combined_windows.json").read_text())
    found = []
    for name in sorted(windows):
        if not name.startswith("real"):
            continue
        with (folder / "data" / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        # Both are written year first, to the second or finer: as text they sort by time.
        times = np.array([row["timestamp"][:19] for row in rows])
        labels = np.zeros(len(rows), dtype=bool)
        for begin, end in windows[name]:
            labels |= (times >= begin[:19]) & (times <= end[:19])
        points = np.array([float(row["value"]) for row in rows])
        found.append(Labelled(name=name.removesuffix(".csv"), points=points, labels=labels))
    return [series for series in found if series.labels.any()]


def download_ucr() -> Labelled:
    """The series that aeon ships: number 135 of the UCR Anomaly Archive, blood pressure with one odd beat.

    Source: Wu and Keogh, "Current Time Series Anomaly Detection Benchmarks are Flawed and are Creating the
    Illusion of Progress", IEEE TKDE 35 (2021).
    """
    text = _from_package(
        "aeon==1.6.0", "aeon/datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv"
    )
    return _read(text, "UCR 135, internal bleeding", "value", "is_anomaly")


def download_mitdb() -> Labelled:
    """The series that sktime ships: 21 s of an ECG of the MIT-BIH Arrhythmia Database, one stretch of it odd.

    Source: Moody and Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Engineering in Medicine and
    Biology 20 (2001). Open Data Commons Attribution License 1.0.
    """
    text = _from_package("sktime==1.2.0", "sktime/datasets/data/mitdb/mitdb.csv")
    return _read(text, "MIT-BIH, ECG excerpt", "data", "label")


def _from_package(requirement: str, path: str) -> str:
    """One file of a package on the Python package index.

    Raises:
        RuntimeError: it could not be downloaded; the message ends with what pip said.
    """
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, "--no-deps", "--only-binary=:all:", "--dest", folder, requirement],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode:
            raise RuntimeError(f"{requirement} could not be downloaded: {done.stderr.strip()[-500:]}")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(path).decode()


def _read(text: str, name: str, value: str, label: str) -> Labelled:
    rows = list(csv.DictReader(io.StringIO(text)))
    return Labelled(
        name=name,
        points=np.array([float(row[value]) for row in rows]),
        labels=np.array([row[label] == "1" for row in rows]),
    )
