"""Measures of anomaly detection, and the rolling z-score to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


def rolling_z(series: Array, window: int) -> Array:
    """How many standard deviations each point lies from the mean of the points around it.

    Args:
        series: shape (points,).
        window: how many points around it, itself among them; fewer at the ends.

    Returns:
        Shape (points,); 0 where nothing around it moves.
    """
    half = window // 2
    series = series - series.mean()
    scale = np.abs(series).max()
    if scale == 0:
        return np.zeros(len(series))
    series = series / scale
    first = np.maximum(np.arange(len(series)) - half, 0)
    last = np.minimum(np.arange(len(series)) + half + 1, len(series))
    sums, squares = (np.concatenate([[0.0], np.cumsum(series**power)]) for power in (1, 2))
    mean = (sums[last] - sums[first]) / (last - first)
    variance = np.maximum((squares[last] - squares[first]) / (last - first) - mean**2, 0)
    deviation = np.sqrt(variance)
    return np.divide(np.abs(series - mean), deviation, out=np.zeros(len(series)), where=deviation > 1e-9)


def f1(flags: Flags, labels: Flags) -> float:
    """Harmonic mean of precision and recall over single points; 0 where no flag is right."""
    right = np.sum(flags & labels)
    return float(2 * right / max(np.sum(flags) + np.sum(labels), 1))


def adjusted(flags: Flags, labels: Flags) -> Flags:
    """The flags with every labelled stretch filled in that holds at least one of them.

    Whoever is alarmed by one point of an anomaly knows of it; but long anomalies are then found by guessing.

    Source: Xu et al., "Unsupervised Anomaly Detection via Variational Auto-Encoder for Seasonal KPIs in Web
    Applications", WWW 2018.
    """
    filled = flags.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    for start, end in edges.reshape(-1, 2):
        filled[start:end] |= flags[start:end].any()
    return filled


def auc(scores: Array, labels: Flags) -> float:
    """How often an anomaly scores above a usual point, ties counted half: the area under the ROC curve."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    positive = int(labels.sum())
    above = ranks[labels].sum() - positive * (positive + 1) / 2
    return float(above / (positive * (len(labels) - positive)))
