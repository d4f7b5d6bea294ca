"""Trains the weights of `lstm_timeseries`, scores them on the held-out points, and writes both.

    python -m models.training.train_lstm_timeseries --data FOLDER

The folder holds `Hourly-train.csv.gz` and `Weekly-train.csv.gz`, the M4 competition's training files.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.lstm_timeseries import LSTMTimeSeries
from models.nets.global_lstm import QUANTILES, GlobalLSTM, Hyper
from models.nets.weights import write_weights
from models.nets.windows import make_windows
from models.training.evaluate import as_text, evaluate
from models.training.sampling import HIGHEST_WEIGHT, Batch, Sampler, read_sources
from satellite.artifacts import open_folder

# The median is what the scores judge; the band is half as important each side.
LEVEL_WEIGHTS = (0.5, 1.0, 0.5)
AVERAGE = 0.998
# The options that, with the code, make the weights what they are.
RECORDED = ("steps", "batch", "rate", "seed", "threads", "drop_blocks")


def loss_of(net: GlobalLSTM, batch: Batch) -> Tensor:
    """Weighted pinball loss over all known points of the batch.

    Source: Koenker and Bassett, "Regression Quantiles", Econometrica 46 (1978).
    """
    hyper = net.hyper
    windows = make_windows(batch.values, batch.lengths, batch.seasons, hyper.block, hyper.context)
    answer = net(windows)
    # A window that repeats itself exactly has no unit to measure its future in.
    unit = windows.unit[:, None]
    truth = ((batch.targets - windows.base) / unit.clamp(min=1e-12)).clamp(-1e4, 1e4).float()
    known = batch.known & (unit > 1e-9)
    error = truth[:, :, None] - answer
    levels = torch.tensor(QUANTILES)
    pinball = (torch.maximum(levels * error, (levels - 1) * error) * torch.tensor(LEVEL_WEIGHTS)).sum(-1)
    weight = (batch.importance * unit).clamp(max=HIGHEST_WEIGHT).float()
    return (weight * torch.where(known, pinball, 0.0)).sum() / known.sum()


def train(options: argparse.Namespace) -> tuple[GlobalLSTM, float]:
    """Train from scratch.

    Returns:
        The network with the moving average of its weights, and the seconds it took.
    """
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    hyper = Hyper(hidden=options.hidden, head=options.head)
    net = GlobalLSTM(hyper)
    average = copy.deepcopy(net)
    pools = read_sources(options.data, options.drop_blocks)
    sampler = Sampler(pools, context=hyper.context, block=hyper.block, seed=options.seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.rate, total_steps=options.steps, pct_start=0.05
    )
    began, total = time.monotonic(), 0.0
    for step in range(1, options.steps + 1):
        loss = loss_of(net, sampler.draw(options.batch))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            # The average of the first steps would otherwise be that of a network that knows nothing.
            share = 1 - min(AVERAGE, step / (step + 10))
            for kept, current in zip(average.parameters(), net.parameters(), strict=True):
                kept.lerp_(current, share)
        total += loss.item()
        if step % 250 == 0:
            print(f"step {step}: loss {total / 250:.4f}, {time.monotonic() - began:.0f} s", flush=True)
            total = 0.0
    return average, time.monotonic() - began


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the M4 training files")
    parser.add_argument("--out", type=Path, default=LSTMTimeSeries.artifacts, help="folder of the versions")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--hidden", type=int, default=64, help="width of the LSTM")
    parser.add_argument("--head", type=int, default=96, help="width of the head")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--drop-blocks", type=int, default=0, help="1: train and score one block earlier, to try things"
    )
    options = parser.parse_args()
    net, seconds = train(options)
    settings = {key: getattr(options, key) for key in RECORDED}
    about: dict[str, Any] = {
        "hyper": net.hyper.as_dict(),
        "quantiles": QUANTILES,
        "training": {**settings, "data": "M4 Hourly and Weekly training sets", "duration_s": round(seconds)},
    }
    folder = options.out / LSTMTimeSeries.version
    write_weights(folder, net.state_dict(), version=LSTMTimeSeries.version, **about)
    # Scored as it will serve: the weights read back from disk, through the model's own way in.
    model = LSTMTimeSeries()
    model.load("cpu", open_folder(folder))
    table = evaluate(model, options.data, options.drop_blocks)
    metrics = {
        frequency: {
            name: {key: round(value, 4) for key, value in asdict(row).items() if value is not None}
            for name, row in rows.items()
        }
        for frequency, rows in table.items()
    }
    write_weights(folder, net.state_dict(), version=LSTMTimeSeries.version, **about, metrics=metrics)
    print(as_text(table))


if __name__ == "__main__":
    main()
