"""One network for all series: an LSTM that reads the window, and a head that answers each step.

::

    window (L points, no level, no unit) -> LSTM -> state at the last point ─┐
    step h: position, phase, what nine simple forecasts say ────────────────┴─> head
        -> weights of the nine forecasts + a correction      = median
        -> how far below and above the median the band reaches = 0.1 and 0.9 quantiles
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.nets.windows import (
    CYCLES,
    ROW_FEATURES,
    SEQUENCE_FEATURES,
    SIMPLE_FORECASTS,
    STEP_FEATURES,
    Windows,
    make_windows,
)
from satellite.device import Device

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyper:
    """What is needed to rebuild the network; the manifest stores it.

    Attributes:
        context: how many of the last points the LSTM reads.
        block: how many steps one pass forecasts.
        hidden: width of the LSTM.
        head: width of the head.
    """

    context: int = 192
    block: int = 48
    hidden: int = 64
    head: int = 96

    def as_dict(self) -> dict[str, int]:
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
        self.lstm = nn.LSTM(SEQUENCE_FEATURES, hyper.hidden, batch_first=True)
        self.state = nn.Linear(hyper.hidden + ROW_FEATURES, hyper.head)
        self.step = nn.Linear(STEP_FEATURES, hyper.head, bias=False)
        self.mix = nn.Linear(hyper.head, hyper.head)
        # Nine weights, a correction, and the reach of the band below and above.
        self.answer = nn.Linear(hyper.head, SIMPLE_FORECASTS + 3)

    def forward(self, windows: Windows) -> Tensor:
        """Forecast.

        Returns:
            (B, H, 3) float32: the quantiles 0.1, 0.5 and 0.9 in rising order, as distances from
            `windows.base` in `windows.unit`s.
        """
        read, _ = self.lstm(windows.sequence)
        # Rows end at different places. The LSTM never looks ahead, so padding after the end changes nothing.
        state = read[torch.arange(len(read), device=read.device), windows.last]
        state = self.state(torch.cat([state, windows.row], dim=1))
        hidden = functional.silu(state[:, None] + self.step(windows.steps))
        hidden = functional.silu(self.mix(hidden)) + hidden
        weights, correction, reach = self.answer(hidden).split([SIMPLE_FORECASTS, 1, 2], dim=-1)
        weights = weights.masked_fill(~windows.usable, -torch.inf).softmax(dim=-1)
        median = (weights * windows.simple).sum(-1, keepdim=True) + correction
        below, above = functional.softplus(reach).split(1, dim=-1)
        return torch.cat([median - below, median, median + above], dim=-1)


def forecast_series(
    net: GlobalLSTM, series: list[NDArray[np.float64]], seasons: list[int], steps: int, device: Device
) -> NDArray[np.float64]:
    """Pad series of any lengths into one batch, forecast them, and bring the quantiles back.

    Args:
        net: the network.
        series: one array of about unit size for each row, at least 4 points.
        seasons: points in a season for each row; 1 for none; at most two thirds of the row's length.
        steps: how many steps ahead, the same for all rows.
        device: where the network's weights are, and what it may compute in.

    Returns:
        (rows, steps, 3) float64: the quantiles 0.1, 0.5 and 0.9.
    """
    # Nothing further back than this is looked at; a short batch stays a short batch.
    series = [x[-(net.hyper.context + CYCLES * m) :] for x, m in zip(series, seasons, strict=True)]
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
def forecast(net: GlobalLSTM, values: Tensor, lengths: Tensor, seasons: Tensor, steps: int) -> Tensor:
    """Forecast a padded batch, block after block.

    After each block the medians become the newest observations of their rows. The band of a later block
    reaches as far as the block itself says and as far as the block before it was unsure, as independent
    errors add up: the square root of the sum of squares.

    Args:
        net: the network, on the same device as the batch.
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
        windows = make_windows(values, lengths, seasons, width, net.hyper.context)
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
