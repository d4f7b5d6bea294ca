"""Scores `classical_forecast` as `lstm_timeseries` is scored, on held-out points of the M4 competition.

    python -m models.training.evaluate_classical --data FOLDER

Fits take long, so one series of eight is forecast; `--every 1` takes all.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from models.classical_forecast import ClassicalForecast
from models.moving_average import MovingAverage
from models.training.evaluate import Score, as_text, naive2, run_model, score, seasonal_naive
from models.training.m4 import FREQUENCIES, read_splits

RECORDED = Path(__file__).with_name("classical_forecast.json")
EVERY = 8
METHODS = {"AutoTheta": "theta", "AutoETS": "ets"}


def evaluate(folder: Path, every: int = EVERY, drop_blocks: int = 0) -> dict[str, dict[str, Score]]:
    """Score both methods, with the season given and with it found, beside the simple forecasts.

    Args:
        folder: holds the M4 training files.
        every: forecast one series of so many.
        drop_blocks: forget this many blocks at the end first, to try things.

    Returns:
        The scores by frequency and method.
    """
    model, average = ClassicalForecast(), MovingAverage()
    model.load("cpu")
    table: dict[str, dict[str, Score]] = {}
    for frequency in FREQUENCIES:
        splits = read_splits(folder, frequency, drop_blocks)[::every]
        rows = table[frequency.name] = {}
        for name, method in METHODS.items():
            for suffix, season in (("", frequency.season), (", season found", None)):
                answers = run_model(
                    model, splits, forecast_steps=frequency.horizon, season_length=season, method=method
                )
                bands = np.array([[answer["0.1"], answer["0.9"]] for answer in answers])
                forecasts = [answer["forecast"] for answer in answers]
                rows[name + suffix] = score(splits, forecasts, frequency, bands)
        for name, simple in (("seasonal naive", seasonal_naive), ("Naive2", naive2)):
            forecasts = [simple(split.train, frequency.horizon, frequency.season) for split in splits]
            rows[name] = score(splits, forecasts, frequency)
        answers = run_model(average, splits, forecast_steps=frequency.horizon)
        rows["moving average"] = score(splits, [answer["forecast"] for answer in answers], frequency)
    return table


def recorded() -> dict[str, dict[str, Score]]:
    """The scores as `--record` last wrote them."""
    content = json.loads(RECORDED.read_text(encoding="utf-8"))
    return {name: {key: Score(**row) for key, row in rows.items()} for name, rows in content.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the M4 training files")
    parser.add_argument("--every", type=int, default=EVERY, help="forecast one series of so many")
    parser.add_argument("--drop-blocks", type=int, default=0, help="1: score the points before the hold-out")
    parser.add_argument("--record", action="store_true", help=f"write the scores to {RECORDED.name}")
    options = parser.parse_args()
    table = evaluate(options.data, options.every, options.drop_blocks)
    if options.record:
        content = {
            name: {
                method: {key: round(value, 4) for key, value in asdict(row).items() if value is not None}
                for method, row in rows.items()
            }
            for name, rows in table.items()
        }
        RECORDED.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(as_text(table))


if __name__ == "__main__":
    main()
