"""Prints the scores of every shipped model beside its baselines: `make evaluate [M4=FOLDER] [NAB=FOLDER]`.

What needs a folder that was not given is printed as it was recorded when the weights were made.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from models.anomaly_detector import AnomalyDetector
from models.lstm_timeseries import LSTMTimeSeries
from models.training import cut_offs
from models.training import evaluate as forecasts
from models.training import evaluate_anomaly_detector as anomalies
from models.training import evaluate_classical as classical
from satellite.artifacts import open_folder

WHERE_M4 = "a folder with Hourly-train.csv.gz and Weekly-train.csv.gz, the M4 competition's training files"
WHERE_NAB = "a copy of the Numenta Anomaly Benchmark's repository"


def print_forecasts(m4: Path | None) -> None:
    """`lstm_timeseries`, `classical_forecast` and `moving_average`."""
    heading("lstm_timeseries", m4 is None, f"M4: {WHERE_M4}")
    if m4 is None:
        print(forecasts.as_text(forecasts.recorded(LSTMTimeSeries())))
    else:
        print(cut_offs.report(LSTMTimeSeries.artifacts, m4).as_text())
    heading(f"classical_forecast, one series of {classical.EVERY}", m4 is None, f"M4: {WHERE_M4}")
    print(forecasts.as_text(classical.recorded() if m4 is None else classical.evaluate(m4)))


def print_anomalies(m4: Path | None, nab: Path | None) -> None:
    """`anomaly_detector`: what can be had is computed, the rest is taken from the manifest."""
    model = AnomalyDetector()
    artifact = open_folder(model.artifacts / model.version)
    model.load("cpu", artifact)
    choice, was = anomalies.read_choice(artifact)
    sets = anomalies.read_sets(nab, m4)
    heading("anomaly_detector", False, "")
    print(anomalies.as_text(anomalies.evaluate(model, sets, (choice["z_window"], choice["z_threshold"]))))
    rest = {name: rows for name, rows in was.items() if name not in sets}
    if rest:
        heading("anomaly_detector, further sets", True, f"M4: {WHERE_M4}; NAB: {WHERE_NAB}")
        print(anomalies.as_text(rest))


def heading(name: str, recorded: bool, needed: str) -> None:
    """Say what follows, and what would compute it anew."""
    print(f"\n## {name}\n")
    if recorded:
        print(f"As recorded with the weights. To compute it, give {needed}.\n")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--m4", type=Path, help=WHERE_M4)
    parser.add_argument("--nab", type=Path, help=WHERE_NAB)
    options = parser.parse_args()
    for folder, file, where in (
        (options.m4, "Hourly-train.csv.gz", WHERE_M4),
        (options.nab, "labels/combined_windows.json", WHERE_NAB),
    ):
        if folder is not None and not (folder / file).is_file():
            parser.error(f"{folder} has no {file}: give {where}")
    print_forecasts(options.m4)
    print_anomalies(options.m4, options.nab)


if __name__ == "__main__":
    main()
