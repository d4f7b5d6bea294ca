"""Trains the weights of `anomaly_detector`, chooses its threshold, scores it, and writes all of it.

    python -m models.training.train_anomaly_detector --data FOLDER [--nab FOLDER]

The folder holds `Hourly-train.csv.gz` and `Weekly-train.csv.gz`, the M4 competition's training files;
the other is a copy of the Numenta Anomaly Benchmark's repository, which is only scored.
"""

from __future__ import annotations

import argparse
import copy
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.anomaly_detector import THRESHOLD, WINDOW, AnomalyDetector
from models.nets.autoencoder import Hyper, LSTMAutoencoder, squash, unit_of
from models.nets.weights import write_weights
from models.training.anomalies import CHOSEN, KINDS, TRAINED, damage, read_series
from models.training.evaluate_anomaly_detector import (
    as_text,
    choose_threshold,
    choose_z,
    detector_scores,
    evaluate,
    injected,
    read_sets,
)
from satellite.artifacts import open_folder

Array = NDArray[np.float64]
AVERAGE = 0.998
DAMAGED = 0.6
# The options that, with the code, make the weights what they are.
RECORDED = ("steps", "batch", "rate", "seed", "threads")
# A window is measured in the unit of this many windows around it.
SURROUNDINGS = 6


class Sampler:
    """Endless batches of windows, damaged and not, the same ones for the same seed."""

    def __init__(self, series: list[Array], seed: int) -> None:
        self._series = series
        self._random = np.random.default_rng(seed)

    def draw(self, size: int) -> tuple[Tensor, Tensor]:
        """Draw windows of one length.

        Returns:
            (size, L) float32 each: what is seen, and what it was before the damage.
        """
        length = int(np.exp(self._random.uniform(np.log(8), np.log(160))))
        pairs = [self._window(length) for _ in range(size)]
        seen, clean = (torch.from_numpy(squash(np.array(side))).float() for side in zip(*pairs, strict=True))
        return seen, clean

    def _window(self, length: int) -> tuple[Array, Array]:
        random = self._random
        points = self._series[random.integers(len(self._series))]
        # The same rhythm, faster and slower: a season may have any length.
        stretch = float(np.exp(random.uniform(np.log(0.25), np.log(4.0))))
        wanted = int(min(SURROUNDINGS * length, (len(points) - 1) * stretch))
        if wanted < length:
            stretch, wanted = length / (len(points) - 1), length
        reach = wanted / stretch
        begin = random.uniform(0, len(points) - 1 - reach) if len(points) - 1 > reach else 0.0
        around = np.interp(begin + np.arange(wanted) / stretch, np.arange(len(points)), points)
        around = around * random.choice([-1.0, 1.0])
        around = around / (np.abs(around).max() or 1.0)
        unit = unit_of(around, length) or 1.0
        start = int(random.integers(0, wanted - length + 1))
        clean = around[start : start + length]
        seen = clean.copy()
        if random.random() < DAMAGED:
            long = max(2, int(length * random.uniform(0.05, 0.5)))
            damage(random, seen, random.choice(KINDS), int(random.integers(0, length - 1)), long, unit)
        # Centred as it will be when it is judged: by what is seen.
        middle = np.median(seen)
        return (seen - middle) / unit, (clean - middle) / unit


def train(options: argparse.Namespace) -> tuple[LSTMAutoencoder, float]:
    """Train from scratch.

    Returns:
        The network with the moving average of its weights, and the seconds it took.
    """
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    net = LSTMAutoencoder(Hyper(hidden=options.hidden, code=options.code))
    average = copy.deepcopy(net)
    sampler = Sampler(read_series(options.data, TRAINED), options.seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=options.rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.rate, total_steps=options.steps, pct_start=0.05
    )
    began, total = time.monotonic(), 0.0
    for step in range(1, options.steps + 1):
        seen, clean = sampler.draw(options.batch)
        # The absolute error follows what most windows do; a squared one would follow the odd ones.
        loss = (net(seen) - clean).abs().mean()
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


def write(net: LSTMAutoencoder, training: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the weights, choose the thresholds with them, score them, and write what came of it."""
    folder = options.out / AnomalyDetector.version
    about: dict[str, Any] = {"hyper": net.hyper.as_dict(), "training": training}
    write_weights(folder, net.state_dict(), version=AnomalyDetector.version, **about)
    # Judged as it will serve: the weights read back from disk, through the model's own way in.
    model = AnomalyDetector()
    model.load("cpu", open_folder(folder))
    own, chosen = detector_scores(model), injected(options.data, CHOSEN)
    threshold, score = choose_threshold([(own(one.points), one.labels) for one in chosen])
    z_window, z_threshold = choose_z(chosen)
    about["choice"] = {
        "data": "M4 series that were not trained on, with injected anomalies",
        "window": WINDOW,
        "threshold": threshold,
        "f1": round(score, 4),
        "z_window": z_window,
        "z_threshold": z_threshold,
    }
    print(about["choice"])
    if threshold != THRESHOLD:
        print(f"The best threshold is {threshold}; THRESHOLD in models/anomaly_detector.py is {THRESHOLD}.")
    table = evaluate(model, read_sets(options.nab, options.data), (z_window, z_threshold))
    metrics = {
        name: {
            method: {key: round(value, 4) for key, value in asdict(row).items()}
            for method, row in rows.items()
        }
        for name, rows in table.items()
    }
    write_weights(folder, net.state_dict(), version=AnomalyDetector.version, **about, metrics=metrics)
    print(as_text(table))


def main() -> None:
    """Train, choose, score, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the M4 training files")
    parser.add_argument("--nab", type=Path, help="folder of the Numenta Anomaly Benchmark")
    parser.add_argument("--out", type=Path, default=AnomalyDetector.artifacts, help="folder of the versions")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=4e-3, help="highest learning rate")
    parser.add_argument("--hidden", type=int, default=64, help="width of both LSTMs")
    parser.add_argument("--code", type=int, default=16, help="numbers in a code")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    net, seconds = train(options)
    settings = {key: getattr(options, key) for key in RECORDED}
    data = "half of the M4 Hourly and Weekly training sets"
    write(net, {**settings, "data": data, "duration_s": round(seconds)}, options)


if __name__ == "__main__":
    main()
