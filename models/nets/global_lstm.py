"""Networks for all series: an LSTM that reads the window, and a head that answers each step.

::

    window (L points, no level, no unit) -> LSTM of patches -> slow LSTM -> state at the last point ─┐
    what is known of the window, and how well the simple forecasts did lately ───────────────────────┤
    step h: position, phase, what twenty simple forecasts say ───────────────────────────────────────┴─> head
        -> weights of the twenty forecasts + a correction    = median
        -> how far below and above the median the band reaches = 0.1 and 0.9 quantiles
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.nets.simple import SIMPLE_FORECASTS
from models.nets.windows import (
    PATCH_FEATURES,
    POINT_FEATURES,
    ROW_FEATURES,
    STEP_FEATURES,
    Windows,
    make_windows,
)
from satellite.device import Device

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyper:
    """What is needed to rebuild the networks; the manifest stores it.

    Attributes:
        members: how many networks answer together.
        context: how many of the last points the LSTM reads.
        patch: how many points it takes in at a time.
        dilation: the slow LSTM reads every so manieth state of the first.
        block: how many steps one pass forecasts.
        hidden: width of the LSTMs.
        head: width of the head.
        dropout: share of what goes into the head that is left out in training.
    """

    members: int = 5
    context: int = 336
    patch: int = 8
    dilation: int = 3
    block: int = 48
    hidden: int = 64
    head: int = 96
    dropout: float = 0.2

    def as_dict(self) -> dict[str, int | float]:
        """For the manifest."""
        return asdict(self)


class GlobalLSTM(nn.Module):
    """Quantile forecasts of one block for a batch of windows.

    Source: one network trained across many series, as in Smyl, "A hybrid method of exponential smoothing and
    recurrent neural networks for time series forecasting", Int. J. Forecasting 36 (2020); all steps of a
    block at once, as in Wen et al., "A Multi-Horizon Quantile Recurrent Forecaster", 2017. The head's mixture
    of simple forecasts is this project's own.
    """

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        self.hyper = hyper
        self.lstm = nn.LSTM(hyper.patch * POINT_FEATURES + PATCH_FEATURES, hyper.hidden, batch_first=True)
        self.slow = nn.LSTM(hyper.hidden, hyper.hidden, batch_first=True)
        self.row = nn.Linear(ROW_FEATURES, hyper.head)
        self.state = nn.Linear(hyper.hidden, hyper.head)
        self.step = nn.Linear(STEP_FEATURES, hyper.head, bias=False)
        self.mix = nn.Linear(hyper.head, hyper.head)
        # Twenty weights, a correction, and the reach of the band below and above.
        self.answer = nn.Linear(hyper.head, SIMPLE_FORECASTS + 3)
        # How much a bad record counts against a simple forecast; the head says the rest.
        self.trust = nn.Parameter(torch.zeros(SIMPLE_FORECASTS))
        self.dropout = nn.Dropout(hyper.dropout)

    def forward(self, windows: Windows) -> Tensor:
        """Forecast.

        Returns:
            (B, H, 3) float32: the quantiles 0.1, 0.5 and 0.9 in rising order, as distances from
            `windows.base` in `windows.unit`s.
        """
        read, _ = self.lstm(windows.sequence)
        read = read + self._read_slowly(read)
        # Rows end at different places. The LSTM never looks ahead, so padding after the end changes nothing.
        state = read[torch.arange(len(read), device=read.device), windows.last]
        state = self.state(self.dropout(state)) + self.row(self.dropout(windows.row))
        hidden = functional.silu(state[:, None] + self.step(windows.steps))
        hidden = functional.silu(self.mix(self.dropout(hidden))) + hidden
        weights, correction, reach = self.answer(hidden).split([SIMPLE_FORECASTS, 1, 2], dim=-1)
        weights = weights - (self.trust * windows.record)[:, None]
        weights = weights.masked_fill(~windows.usable, -torch.inf).softmax(dim=-1)
        median = (weights * windows.simple).sum(-1, keepdim=True) + correction
        below, above = functional.softplus(reach).split(1, dim=-1)
        return torch.cat([median - below, median, median + above], dim=-1)

    def _read_slowly(self, read: Tensor) -> Tensor:
        """The second LSTM: with patches of 8 hours and a dilation of 3 it goes from day to day.

        Source: Chang et al., "Dilated Recurrent Neural Networks", NeurIPS 2017.
        """
        batch, width, _ = read.shape
        dilation = self.hyper.dilation
        padded = functional.pad(read, (0, 0, 0, -width % dilation))
        chains = padded.unflatten(1, (-1, dilation)).transpose(1, 2).flatten(0, 1)
        slow, _ = self.slow(chains)
        return slow.unflatten(0, (batch, dilation)).transpose(1, 2).flatten(1, 2)[:, :width]


class Ensemble(nn.Module):
    """Networks that differ in nothing but their training's seed; the answer is the mean of theirs.

    `stretch` corrects how far the band reaches, without a season and with one (`models/training/bands.py`).
    """

    stretch: Tensor

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        self.hyper = hyper
        self.members = nn.ModuleList(GlobalLSTM(hyper) for _ in range(hyper.members))
        self.register_buffer("stretch", torch.ones(2))

    def forward(self, windows: Windows) -> Tensor:
        """Forecast, as `GlobalLSTM` does."""
        answer = torch.stack([member(windows) for member in self.members]).mean(0)
        median = answer[:, :, 1:2]
        return median + (answer - median) * self.stretch[windows.seasonal.long()][:, None, None]

    def alone(self, place: int) -> Ensemble:
        """One of the networks, as an ensemble of itself."""
        single = Ensemble(replace(self.hyper, members=1)).eval()
        single.members[0] = self.members[place]
        return single


def forecast_series(
    net: Ensemble, series: list[NDArray[np.float64]], seasons: list[int], steps: int, device: Device
) -> NDArray[np.float64]:
    """Pad series of any lengths into one batch, forecast them, and bring the quantiles back.

    Args:
        net: the networks.
        series: one array of about unit size for each row, at least 4 points.
        seasons: points in a season for each row; 1 for none; at most two thirds of the row's length.
        steps: how many steps ahead, the same for all rows.
        device: where the network's weights are, and what it may compute in.

    Returns:
        (rows, steps, 3) float64: the quantiles 0.1, 0.5 and 0.9.
    """
    lengths = [len(x) for x in series]
    values = np.zeros((len(series), max(lengths)))
    for row, points in zip(values, series, strict=True):
        row[: len(points)] = points
    batch = torch.from_numpy(values), torch.tensor(lengths), torch.tensor(seasons)
    # Only matrix products become less exact: features, and what is made of the answers, stay in float64.
    with device.autocast():
        quantiles = forecast(net, *map(device.put, batch), steps)
    return quantiles.cpu().numpy()


@torch.inference_mode()
def forecast(net: Ensemble, values: Tensor, lengths: Tensor, seasons: Tensor, steps: int) -> Tensor:
    """Forecast a padded batch, block after block.

    After each block the medians become the newest observations of their rows. The band of a later block
    reaches as far as the block itself says and as far as the block before it was unsure, as independent
    errors add up: the square root of the sum of squares.

    Args:
        net: the networks, on the same device as the batch.
        values: (B, T) float64 of about unit size, padded on the right.
        lengths: (B,) int64, points in each row.
        seasons: (B,) int64, points in a season; 1 for none; at most two thirds of the row's length.
        steps: how many steps ahead, the same for all rows.

    Returns:
        (B, steps, 3) float64: the quantiles 0.1, 0.5 and 0.9.
    """
    blocks: list[Tensor] = []
    unit = below = above = torch.zeros(len(values), 1, dtype=values.dtype, device=values.device)
    for start in range(0, steps, net.hyper.block):
        width = min(net.hyper.block, steps - start)
        windows = make_windows(values, lengths, seasons, width, net.hyper.context, net.hyper.patch)
        answer = net(windows).double()
        median = windows.base + windows.unit[:, None] * answer[:, :, 1]
        if not blocks:
            # Later windows hold forecasts, which are smoother than the data: the band keeps the data's unit.
            unit = windows.unit[:, None]
        low = torch.hypot(unit * (answer[:, :, 1] - answer[:, :, 0]), below)
        high = torch.hypot(unit * (answer[:, :, 2] - answer[:, :, 1]), above)
        blocks.append(torch.stack([median - low, median, median + high], dim=-1))
        below, above = low[:, -1:], high[:, -1:]
        if start + width < steps:
            values, lengths = _append(values, lengths, median), lengths + width
    return torch.cat(blocks, dim=1)


def _append(values: Tensor, lengths: Tensor, new: Tensor) -> Tensor:
    """Write `new` (B, H) behind the last observation of each row."""
    longer = functional.pad(values, (0, new.shape[1]))
    place = lengths[:, None] + torch.arange(new.shape[1], device=values.device)
    return longer.scatter(1, place, new)
