"""Corrects how far the band reaches, by points that the networks have not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.lstm_timeseries import LSTMTimeSeries
from models.nets.global_lstm import Ensemble
from models.training.evaluate import HELD_OUT_BLOCKS, run_model
from models.training.m4 import FREQUENCIES, read_splits

INSIDE = 0.8


def fit_stretch(twins: Ensemble, data: Path) -> Tensor:
    """How much wider the band must be to hold four true values of five, without a season and with one.

    The last block is left out, so that the coverage that is scored there says whether the correction holds.

    Args:
        twins: networks that have not seen the last blocks; their stretch is still 1.
        data: folder of the M4 training files.

    Returns:
        (2,) float32: measured on weekly series, which have no season, and on hourly ones.

    Source: the split conformal method, as in Romano, Patterson and Candès, "Conformalized Quantile
    Regression", NeurIPS 2019; here the reach is scaled, not shifted.
    """
    model = LSTMTimeSeries()
    model.use(twins)
    stretch = torch.ones(2)
    for frequency in FREQUENCIES:
        needed = []
        for drop_blocks in range(1, HELD_OUT_BLOCKS):
            splits = read_splits(data, frequency, drop_blocks)
            answers = run_model(
                model, splits, forecast_steps=frequency.horizon, season_length=frequency.season
            )
            for split, answer in zip(splits, answers, strict=True):
                missed = split.held_out - answer["0.5"]
                reach = np.where(missed < 0, answer["0.5"] - answer["0.1"], answer["0.9"] - answer["0.5"])
                # Where nothing moves both are 0, and no band is needed.
                needed.append(np.abs(missed)[reach > 0] / reach[reach > 0])
        stretch[int(frequency.season > 1)] = float(np.quantile(np.concatenate(needed), INSIDE))
    return stretch
