"""The model of the comparison: a one-layer LSTM of 64 units, 24 points in, 5 steps out, on one torch thread.

Everything that is measured serves this one function, so that only what is around it differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

HIDDEN = 64
POINTS = 24
STEPS = 5
SERIES = [10.0 + i % 7 for i in range(POINTS)]


def load() -> Callable[[Sequence[Sequence[float]]], list[list[float]]]:
    """Build the network, with the same random weights everywhere.

    Returns:
        A function from a batch of series of equal length, (batch, points), to forecasts, (batch, STEPS).
    """
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(1, HIDDEN, batch_first=True).eval()
    head = torch.nn.Linear(HIDDEN, STEPS).eval()

    @torch.inference_mode()
    def forecast(batch: Sequence[Sequence[float]]) -> list[list[float]]:
        states, _ = lstm(torch.tensor(batch, dtype=torch.float32).unsqueeze(-1))
        return head(states[:, -1]).tolist()

    forecast([SERIES])
    return forecast
