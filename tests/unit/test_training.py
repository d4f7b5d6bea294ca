"""How the weights are trained; with two small folders of made-up series in place of the M4 files."""

import csv
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.nets.global_lstm import Hyper
from models.training.m4 import HOURLY, WEEKLY, Frequency, read_splits
from models.training.sampling import Sampler, read_sources
from models.training.trainer import Recipe, Training, train

HELD_OUT = 1e6
RECIPE = Recipe(drop_blocks=3, seed=1, steps=4, batch=4, rate=1e-3, decay=0.01)
HYPER = Hyper(members=1, context=48, hidden=4, head=8)


def write(folder: Path, frequency: Frequency, blocks: int, points: int) -> None:
    """Four series each, whose last blocks hold nothing but one number, far from all others."""
    random = np.random.default_rng(points)
    with gzip.open(folder / f"{frequency.name}-train.csv.gz", "wt", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", *range(points)])
        for name in range(4):
            series = 50 + np.sin(np.arange(points) * 2 * np.pi / 24) + 0.1 * random.normal(size=points)
            series[points - blocks * frequency.horizon :] = HELD_OUT
            rows.writerow([name, *series])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m4")
    write(folder, HOURLY, 4, 500)
    write(folder, WEEKLY, 4, 200)
    return folder


def test_held_out_blocks_are_not_trained_on(data: Path) -> None:
    pools = read_sources(data, drop_blocks=3)
    assert [len(pool) for pool in pools][::2] == [4, 4]
    assert max(source.points.max() for pool in pools for source in pool) < 100
    sampler = Sampler(pools, context=48, block=48, seed=1)
    assert max(float(sampler.draw(16).targets.max()) for _ in range(8)) < 100
    # The same points are there once fewer blocks are held out.
    assert max(source.points.max() for pool in read_sources(data, 2) for source in pool) == HELD_OUT


@pytest.mark.parametrize("drop_blocks", [-1, 0, 3])
def test_a_split_ends_where_it_should(data: Path, drop_blocks: int) -> None:
    [split, *_] = read_splits(data, WEEKLY, drop_blocks)
    assert len(split.train) == 200 - (drop_blocks + 1) * WEEKLY.horizon
    assert len(split.held_out) == (0 if drop_blocks < 0 else WEEKLY.horizon)


def test_a_killed_training_ends_as_an_unbroken_one(data: Path, tmp_path: Path) -> None:
    whole, _ = train(RECIPE, HYPER, data, tmp_path / "whole.pt")
    broken = Training(RECIPE, HYPER, data)
    broken.advance()
    broken.advance()
    broken.save(tmp_path / "broken.pt")
    broken.advance()  # Lost with the process.
    resumed, _ = train(RECIPE, HYPER, data, tmp_path / "broken.pt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    other, _ = train(replace(RECIPE, seed=2), HYPER, data, tmp_path / "other.pt")
    assert not torch.equal(whole["answer.weight"], other["answer.weight"])


def test_a_checkpoint_of_other_options_is_refused(data: Path, tmp_path: Path) -> None:
    Training(RECIPE, HYPER, data).save(tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt was made with other options"):
        train(replace(RECIPE, batch=5), HYPER, data, tmp_path / "a.pt")
