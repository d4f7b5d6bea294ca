"""An LSTM autoencoder for windows of any series, and a score for every point.

::

    window (L points, centred, in units of the series) -> LSTM -> last state -> code (a few numbers)
    code, again and again, and where in the window we are -> LSTM -> the window as it usually would look
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]
SHORTEST_WINDOW = 8
# Windows computed in one pass: 80,000 points need about 5,000 windows, and not all at once in memory.
ROWS = 1024
# With how many other windows each one is compared.
MOST_COMPARED = 4096
# How many windows see each point, so that none is judged by its place in one window alone.
OVERLAP = 4
# A sharp peak is a few units high, an outlier may be a million: the network sees their logarithm.
HIGHEST = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyper:
    """What is needed to rebuild the network; the manifest stores it.

    Attributes:
        hidden: width of both LSTMs.
        code: how many numbers a window is squeezed into.
    """

    hidden: int = 64
    code: int = 16

    def as_dict(self) -> dict[str, int]:
        """For the manifest."""
        return asdict(self)


class LSTMAutoencoder(nn.Module):
    """Squeezes a window into a short code and rebuilds it from that.

    Source: Malhotra et al., "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection", ICML 2016
    Anomaly Detection Workshop; trained to undo damage as in Vincent et al., "Extracting and Composing Robust
    Features with Denoising Autoencoders", ICML 2008.
    """

    def __init__(self, hyper: Hyper) -> None:
        super().__init__()
        self.hyper = hyper
        self.encoder = nn.LSTM(2, hyper.hidden, batch_first=True)
        self.squeeze = nn.Linear(hyper.hidden, hyper.code)
        self.decoder = nn.LSTM(hyper.code + 2, hyper.hidden, batch_first=True)
        self.answer = nn.Linear(hyper.hidden, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """Rebuild.

        Args:
            windows: (B, L) float32, as `squash` makes them.

        Returns:
            (B, L) float32, the same scale.
        """
        return self.decode(self.encode(windows), windows.shape[1])

    def encode(self, windows: Tensor) -> Tensor:
        """The codes of windows, (B, code)."""
        share = _places(windows.shape[1], windows)[:, 0].expand(len(windows), -1)
        _, (state, _) = self.encoder(torch.stack([windows, share], dim=-1))
        return self.squeeze(state[-1])

    def decode(self, codes: Tensor, length: int) -> Tensor:
        """The windows that codes stand for, (B, length)."""
        where = _places(length, codes).expand(len(codes), -1, -1)
        repeated = codes[:, None].expand(-1, length, -1)
        read, _ = self.decoder(torch.cat([repeated, where], dim=-1))
        return self.answer(read)[..., 0]


def _places(length: int, like: Tensor) -> Tensor:
    """Where each point is, as a share of the window and in points, (length, 2): windows have all lengths."""
    place = torch.arange(length, dtype=like.dtype, device=like.device)
    return torch.stack([place / length, place / 64], dim=-1)


def unit_of(series: Array, window: int) -> float:
    """How far points usually lie from the middle of their window: what the series is measured in.

    Args:
        series: shape (points,), of about unit size.
        window: how many points a window has, at most `len(series)`.

    Returns:
        The median over all windows of the median distance, as a standard deviation; at least a tenth of the
        root mean square of all distances, so that rare activity on a flat line has a unit too. 0 if no
        window moves.
    """
    cut = cut_windows(series, window, max(1, window // 2))[0]
    away = np.abs(cut - np.median(cut, axis=1, keepdims=True))
    return float(max(1.4826 * np.median(np.median(away, axis=1)), 0.1 * np.sqrt(np.mean(away**2))))


def cut_windows(series: Array, window: int, stride: int) -> tuple[Array, NDArray[np.int64]]:
    """All windows that start `stride` points apart, and one that ends at the end.

    Returns:
        Shape (windows, window), and where each starts.
    """
    last = len(series) - window
    starts = np.arange(0, last + 1, stride)
    if starts[-1] != last:
        starts = np.append(starts, last)
    return np.lib.stride_tricks.sliding_window_view(series, window)[starts], starts


def squash(windows: Array) -> Array:
    """Distances in units, large ones by their logarithm; `np.sinh` undoes it."""
    return np.clip(np.arcsinh(windows), -HIGHEST, HIGHEST)


def score_series(net: LSTMAutoencoder, series: Array, window: int) -> Array:
    """Score every point of a series by what the network makes of it.

    Two things are odd: a point far from its rebuilt value, and a window whose code resembles no other's. Both
    are measured by what is usual in the series itself, and a score is their mean.

    Args:
        net: the network; the windows go where its weights are.
        series: shape (points,), of about unit size, at least 8 points.
        window: how many points the network looks at together; a shorter series is one window.

    Returns:
        Shape (points,), 0 or more: 1 is usual. All 0 if the series does not move.

    Source: distance to the nearest other window as in Keogh et al., "HOT SAX: Efficiently Finding the Most
    Unusual Time Series Subsequence", ICDM 2005; here between codes.
    """
    window = min(window, len(series))
    unit = unit_of(series, window)
    if unit < 1e-12:
        return np.zeros(len(series))
    cut, starts = cut_windows(series, window, max(1, window // OVERLAP))
    away, codes = _read(net, cut, unit)
    # An anomaly is rarely a single point: the neighbours of an odd one are not quite innocent.
    error = _smooth(_per_point(away, starts, len(series)), window // OVERLAP)
    strangeness = _strangeness(codes, starts, window)
    strange = _per_point(np.repeat(strangeness[:, None], window, axis=1), starts, len(series))
    return (_over_usual(error) + _over_usual(strange)) / 2


@torch.inference_mode()
def _read(net: LSTMAutoencoder, cut: Array, unit: float) -> tuple[Array, Tensor]:
    """How far each point of each window lies from its rebuilt value, and the windows' codes."""
    device = net.answer.weight.device
    away: list[Array] = []
    codes: list[Tensor] = []
    for first in range(0, len(cut), ROWS):
        some = cut[first : first + ROWS]
        real = (some - np.median(some, axis=1, keepdims=True)) / unit
        code = net.encode(torch.from_numpy(squash(real)).float().to(device))
        rebuilt = net.decode(code, real.shape[1]).double().clamp(-HIGHEST, HIGHEST).cpu().numpy()
        away.append(np.abs(real - np.sinh(rebuilt)))
        codes.append(code)
    return np.concatenate(away), torch.cat(codes)


@torch.inference_mode()
def _strangeness(codes: Tensor, starts: NDArray[np.int64], window: int) -> Array:
    """For each window the distance of its code to the second nearest of a window elsewhere in the series.

    The nearest could be the same anomaly come back. 0 where there are not two others.
    """
    # Of a long series a sample is looked at: the usual is in it many times over.
    sample = np.unique(np.linspace(0, len(codes) - 1, min(len(codes), MOST_COMPARED)).astype(int))
    others, places = codes[sample], torch.from_numpy(starts).to(codes.device)
    found: list[Tensor] = []
    for first in range(0, len(codes), ROWS):
        rows = slice(first, first + ROWS)
        distance = torch.cdist(codes[rows], others)
        overlap = (places[rows, None] - places[sample][None]).abs() < window
        distance = distance.masked_fill(overlap, torch.inf)
        found.append(distance.topk(min(2, len(sample)), largest=False).values[:, -1])
    nearest = torch.cat(found).double().cpu().numpy()
    return np.where(np.isfinite(nearest), nearest, 0.0)


def _per_point(values: Array, starts: NDArray[np.int64], points: int) -> Array:
    """Means over the windows that hold each point; `values` has shape (windows, window)."""
    total, count = np.zeros(points), np.zeros(points)
    for start, row in zip(starts, values, strict=True):
        total[start : start + len(row)] += row
        count[start : start + len(row)] += 1
    return total / count


def _smooth(values: Array, reach: int) -> Array:
    """Means over up to `reach` neighbours each side, the nearer the weightier; the ends continued."""
    weights = np.concatenate([np.arange(1, reach + 2), np.arange(reach, 0, -1)]) / (reach + 1) ** 2
    return np.convolve(np.pad(values, reach, mode="edge"), weights, mode="valid")


def _over_usual(values: Array) -> Array:
    """Over the median; where most are next to nothing, over a tenth of the mean."""
    usual = max(float(np.median(values)), 0.1 * float(values.mean()))
    return values / usual if usual > 0 else values
