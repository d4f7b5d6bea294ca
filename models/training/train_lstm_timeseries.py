"""Trains the weights of `lstm_timeseries`, scores them on points they have not seen, and writes both.

    python -m models.training.train_lstm_timeseries --data FOLDER

The folder holds `Hourly-train.csv.gz` and `Weekly-train.csv.gz`, the M4 competition's training files.

Several networks that differ in nothing but their seed are trained, and each of them twice: without the last
four blocks of every series, to be scored on these, and on everything, to be used. Killed, it goes on where it
was when it is called again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from models.lstm_timeseries import LSTMTimeSeries
from models.nets.global_lstm import QUANTILES, Ensemble, Hyper
from models.nets.weights import write_weights
from models.training.bands import fit_stretch
from models.training.cut_offs import report
from models.training.evaluate import HELD_OUT_BLOCKS, TWINS
from models.training.trainer import Recipe, train

# As many blocks are held out as are forgotten, and one more.
EVERYTHING = -1


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the M4 training files")
    parser.add_argument("--out", type=Path, default=LSTMTimeSeries.artifacts, help="folder of the versions")
    parser.add_argument("--work", type=Path, default=Path("training-runs"), help="folder of the checkpoints")
    parser.add_argument("--members", type=int, default=5, help="how many networks answer together")
    parser.add_argument("--processes", type=int, default=2, help="how many are trained at the same time")
    parser.add_argument("--seed", type=int, default=20, help="of the first network; the others count up")
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=1e-2, help="decay of the weights")
    return parser.parse_args()


def train_all(options: argparse.Namespace, recipe: Recipe, hyper: Hyper) -> list[tuple[Ensemble, float]]:
    """Train all networks, some at the same time.

    Returns:
        Those that have not seen the last blocks, then those that have seen all, each with its seconds.
    """
    options.work.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=spawn, initializer=_end_with_parent) as pool:
        kinds = [
            [
                pool.submit(
                    train,
                    replace(recipe, drop_blocks=drop_blocks, seed=seed),
                    hyper,
                    options.data,
                    options.work / f"{name}-{seed}.pt",
                )
                for seed in range(recipe.seed, recipe.seed + hyper.members)
            ]
            for name, drop_blocks in (("held-out", HELD_OUT_BLOCKS - 1), ("everything", EVERYTHING))
        ]
        return [_gather([run.result() for run in runs], hyper) for runs in kinds]


def _end_with_parent() -> None:
    """In a process of the pool: it must not go on writing checkpoints once the command was killed."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _gather(trained: list[tuple[dict[str, Tensor], float]], hyper: Hyper) -> tuple[Ensemble, float]:
    net = Ensemble(hyper)
    for member, (state, _) in zip(net.members, trained, strict=True):
        member.load_state_dict(state)
    return net, sum(seconds for _, seconds in trained)


def main() -> None:
    """Train, score, write."""
    options = parse()
    hyper = Hyper(members=options.members)
    recipe = Recipe(
        drop_blocks=EVERYTHING,
        seed=options.seed,
        steps=options.steps,
        batch=options.batch,
        rate=options.rate,
        decay=options.decay,
    )
    (twins, twins_s), (net, net_s) = train_all(options, recipe, hyper)
    folder = options.out / LSTMTimeSeries.version
    about: dict[str, Any] = {
        "version": LSTMTimeSeries.version,
        "hyper": hyper.as_dict(),
        "quantiles": QUANTILES,
        "training": {**asdict(recipe), "data": "M4 Hourly and Weekly training sets"},
    }
    net.stretch = twins.stretch = fit_stretch(twins.eval(), options.data)
    as_twins = {**about, "version": TWINS, "duration_s": round(twins_s)}
    write_weights(folder / TWINS, twins.state_dict(), **as_twins)
    # Scored as it will serve: the weights read back from disk, through the model's own way in.
    scored = report(options.out, options.data)
    print(scored.as_text())
    write_weights(folder, net.state_dict(), **about, duration_s=round(net_s), **scored.as_metrics())


if __name__ == "__main__":
    main()
