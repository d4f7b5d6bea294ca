"""Trains one network, and goes on after a kill as if nothing had happened."""

from __future__ import annotations

import copy
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.nets.global_lstm import QUANTILES, GlobalLSTM, Hyper
from models.nets.windows import make_windows
from models.training.sampling import HIGHEST_WEIGHT, Batch, Sampler, read_sources

# The median is what the scores judge; the band is half as important each side.
LEVEL_WEIGHTS = (0.5, 1.0, 0.5)
# How much of the average of the weights is kept at each step.
AVERAGE = 0.998
REPORT_EVERY = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What, with the code and the data, makes a network what it is.

    Attributes:
        drop_blocks: how many blocks at the end of each series are not trained on.
        seed: of the first weights, the windows drawn and the dropout.
        steps: how many batches.
        batch: windows in each.
        rate: the highest learning rate.
        decay: of the weights.
    """

    drop_blocks: int
    seed: int
    steps: int
    batch: int
    rate: float
    decay: float


class Training:
    """One network on its way, and everything that has to survive a kill."""

    def __init__(self, recipe: Recipe, hyper: Hyper, data: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.step = 0
        self.loss = 0.0
        self.duration_s = 0.0
        self.net = GlobalLSTM(hyper)
        self.average = copy.deepcopy(self.net).eval()
        pools = read_sources(data, recipe.drop_blocks)
        self._sampler = Sampler(pools, context=hyper.context, block=hyper.block, seed=recipe.seed)
        self._optimizer = torch.optim.AdamW(self.net.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer, max_lr=recipe.rate, total_steps=recipe.steps, pct_start=0.05
        )

    def advance(self) -> None:
        """Do one step."""
        began = time.monotonic()
        loss = loss_of(self.net, self._sampler.draw(self.recipe.batch))
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self.step += 1
        # The average of the first steps would otherwise be that of a network that knows nothing.
        share = 1 - min(AVERAGE, self.step / (self.step + 10))
        with torch.no_grad():
            for kept, current in zip(self.average.parameters(), self.net.parameters(), strict=True):
                kept.lerp_(current, share)
        self.loss += (loss.item() - self.loss) / min(self.step, REPORT_EVERY)
        self.duration_s += time.monotonic() - began

    def save(self, path: Path) -> None:
        """Write a checkpoint; a kill in the middle leaves the one before."""
        state = {
            "recipe": asdict(self.recipe),
            "hyper": self.net.hyper.as_dict(),
            "progress": (self.step, self.loss, self.duration_s),
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "sampler": self._sampler.state,
            "torch": torch.get_rng_state(),
        }
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        os.replace(unfinished, path)

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: it was made with other options.
        """
        state: dict[str, Any] = torch.load(path, weights_only=True)
        if (state["recipe"], state["hyper"]) != (asdict(self.recipe), self.net.hyper.as_dict()):
            raise ValueError(f"{path} was made with other options: remove it, or give another --work")
        self.step, self.loss, self.duration_s = state["progress"]
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._sampler.state = state["sampler"]
        torch.set_rng_state(state["torch"])


def train(recipe: Recipe, hyper: Hyper, data: Path, checkpoint: Path) -> tuple[dict[str, Tensor], float]:
    """Train a network on one thread, or do what is left to do if there is a checkpoint already.

    Returns:
        The average of the weights, and how many seconds all of it took.
    """
    torch.set_num_threads(1)
    training = Training(recipe, hyper, data)
    if checkpoint.exists():
        training.resume(checkpoint)
    while training.step < recipe.steps:
        training.advance()
        if training.step % REPORT_EVERY == 0 or training.step == recipe.steps:
            training.save(checkpoint)
            left = training.duration_s / training.step * (recipe.steps - training.step)
            print(
                f"{checkpoint.stem}: step {training.step} of {recipe.steps}, loss {training.loss:.4f}, "
                f"{training.duration_s:.0f} s, {left:.0f} s to go",
                flush=True,
            )
    return training.average.state_dict(), training.duration_s


def loss_of(net: GlobalLSTM, batch: Batch) -> Tensor:
    """Weighted pinball loss over all known points of the batch.

    Source: Koenker and Bassett, "Regression Quantiles", Econometrica 46 (1978).
    """
    hyper = net.hyper
    windows = make_windows(
        batch.values, batch.lengths, batch.seasons, hyper.block, hyper.context, hyper.patch
    )
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
