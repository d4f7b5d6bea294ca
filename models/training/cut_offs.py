"""Scores `lstm_timeseries` at several cut-offs, with eight points, network by network, and its speed.

    python -m models.training.cut_offs --data FOLDER

One cut-off says little: from one to the next the weekly scores differ by a quarter. So every series is cut
off before its last block of points, before the one before that, and so on; the twins have seen none of these.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.lstm_timeseries import LSTMTimeSeries
from models.training.evaluate import (
    BATCH,
    HELD_OUT_BLOCKS,
    Score,
    as_text,
    evaluate,
    held_out_twins,
    naive2,
    run_model,
    score,
)
from models.training.m4 import FREQUENCIES, Frequency, Split, read_splits
from satellite.model import ModelInput

Table = dict[str, dict[str, Score]]
# A caller who has hardly any data.
FEW_POINTS, FEW_STEPS = 8, 5
POINTS, STEPS, SEASON = 336, 48, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What there is to say of one set of weights.

    Attributes:
        by_cut_off: the scores of each cut-off, the last block first.
        by_network: the OWA of each network alone, by frequency, each the mean of all cut-offs.
        batch_ms: how long a batch of eight takes, 336 points and 48 steps each, on one thread.
    """

    by_cut_off: list[Table]
    by_network: dict[str, list[float]]
    batch_ms: float

    @property
    def mean(self) -> Table:
        """The mean of the scores of all cut-offs."""
        return {
            frequency: {name: _mean([t[frequency][name] for t in self.by_cut_off]) for name in rows}
            for frequency, rows in self.by_cut_off[0].items()
        }

    def as_metrics(self) -> dict[str, Any]:
        """The entries of the manifest."""
        rows = {
            frequency: {
                name: {key: round(value, 4) for key, value in asdict(row).items() if value is not None}
                for name, row in rows.items()
            }
            for frequency, rows in self.mean.items()
        }
        owa = {
            frequency: {
                name: [round(table[frequency][name].owa, 4) for table in self.by_cut_off] for name in names
            }
            for frequency, names in rows.items()
        }
        by_network = {frequency: [round(x, 4) for x in found] for frequency, found in self.by_network.items()}
        return {"metrics": rows, "owa_by_cut_off": owa, "owa_by_network": by_network}

    def as_text(self) -> str:
        """All of it, for people."""
        parts = [f"Cut-off {i}\n\n{as_text(table)}" for i, table in enumerate(self.by_cut_off)]
        parts.append(f"Mean of {len(self.by_cut_off)} cut-offs\n\n{as_text(self.mean)}")
        parts.extend(
            f"{frequency}, OWA of each network alone: " + ", ".join(f"{x:.3f}" for x in found)
            for frequency, found in self.by_network.items()
        )
        parts.append(
            f"A batch of {BATCH}, {POINTS} points, {STEPS} steps, on one thread: {self.batch_ms:.1f} ms"
        )
        return "\n\n".join(parts)


def _mean(rows: Sequence[Score]) -> Score:
    known = {key for key, value in asdict(rows[0]).items() if value is not None}
    return Score(**{key: float(np.mean([getattr(row, key) for row in rows])) for key in known})


def report(artifacts: Path, data: Path) -> Report:
    """Score the twins of the weights in `artifacts` on the M4 training files in `data`."""
    model = held_out_twins(artifacts)
    tables = [evaluate(model, data, i) | evaluate_short(model, data, i) for i in range(HELD_OUT_BLOCKS)]
    return Report(by_cut_off=tables, by_network=evaluate_networks(model, data), batch_ms=batch_ms(model))


def evaluate_short(model: LSTMTimeSeries, folder: Path, drop_blocks: int) -> Table:
    """Score the model on the last 8 points before the cut-off and the 5 after it, beside the last value."""
    table: Table = {}
    for frequency in FREQUENCIES:
        few = Frequency(name=frequency.name, season=1, horizon=FEW_STEPS)
        splits = [
            Split(train=split.train, held_out=split.held_out[:FEW_STEPS])
            for split in read_splits(folder, frequency, drop_blocks)
        ]
        shown = [Split(train=split.train[-FEW_POINTS:], held_out=split.held_out) for split in splits]
        answers = run_model(model, shown, forecast_steps=FEW_STEPS)
        bands = np.array([[answer["0.1"], answer["0.9"]] for answer in answers])
        table[f"{frequency.name}, {FEW_POINTS} points"] = {
            "model": score(splits, [answer["forecast"] for answer in answers], few, bands),
            "last value": score(splits, [naive2(split.train, FEW_STEPS, 1) for split in shown], few),
        }
    return table


def evaluate_networks(model: LSTMTimeSeries, folder: Path) -> dict[str, list[float]]:
    """The OWA of each network alone, by frequency: what another seed makes of it."""
    found: dict[str, list[float]] = {frequency.name: [] for frequency in FREQUENCIES}
    for place in range(len(model.net.members)):
        alone = LSTMTimeSeries()
        alone.use(model.net.alone(place))
        for frequency in FREQUENCIES:
            owas = []
            for drop_blocks in range(HELD_OUT_BLOCKS):
                splits = read_splits(folder, frequency, drop_blocks)
                answers = run_model(
                    alone, splits, forecast_steps=frequency.horizon, season_length=frequency.season
                )
                owas.append(score(splits, [answer["forecast"] for answer in answers], frequency).owa)
            found[frequency.name].append(float(np.mean(owas)))
    return found


def batch_ms(model: LSTMTimeSeries) -> float:
    """How long a batch of eight takes on one thread: the median of fifty, in milliseconds."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    walks = np.random.default_rng(0).normal(size=(BATCH, POINTS)).cumsum(axis=1)
    config = model.Config(forecast_steps=STEPS, season_length=SEASON)
    batch = [ModelInput(data=walk.tolist(), config=config) for walk in walks]
    times = []
    for _ in range(50):
        began = time.perf_counter()
        model.infer_batch(batch)
        times.append(1000 * (time.perf_counter() - began))
    torch.set_num_threads(threads)
    return float(np.median(times))


def main() -> None:
    """Print it all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the M4 training files")
    parser.add_argument(
        "--artifacts", type=Path, default=LSTMTimeSeries.artifacts, help="folder of other versions"
    )
    options = parser.parse_args()
    print(report(options.artifacts, options.data).as_text())


if __name__ == "__main__":
    main()
