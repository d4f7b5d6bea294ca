"""A forecast drawn in the terminal: history, forecast, its band, and what really happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HEIGHT_ROWS = 20


def forecast_chart(
    history: Sequence[float],
    forecast: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    actual: Sequence[float],
    *,
    unit: str,
    width: int,
    colour: bool,
) -> str:
    """Draws one forecast.

    Args:
        history: the last observations before the forecast.
        forecast: one value per step.
        low: lower edge of the band, one value per step.
        high: upper edge of the band, one value per step.
        actual: what was observed in the forecast's time; may be empty.
        unit: of all values, for the axis.
        width: columns of the terminal.
        colour: whether to colour it; without colours the lines differ by their marks.

    Returns:
        Lines of text.
    """
    import plotext

    figure: Any = plotext.figure
    figure.clear()
    figure.plot_size(width, HEIGHT_ROWS)
    # No background of its own: the terminal may be dark or light.
    figure.theme("simple")
    figure.canvas("default")
    past = list(range(-len(history) + 1, 1))
    ahead = list(range(1, len(forecast) + 1))
    # The band first, so that the lines lie on top of it.
    for name, values in (("0.1-0.9 band", low), ("", high)):
        _draw(plotext, figure, ahead, values, symbol="·", colour="blue", label=name)
    _draw(plotext, figure, past, history, symbol="braille" if colour else ".", colour="gray", label="history")
    if actual:
        _draw(
            plotext,
            figure,
            ahead,
            actual,
            symbol="braille" if colour else "o",
            colour="green",
            label="actual",
        )
    _draw(
        plotext, figure, ahead, forecast, symbol="braille" if colour else "x", colour="red", label="forecast"
    )
    figure.label("steps from now", "x")
    figure.label(unit, "y")
    return str(figure.build().string(colorless=not colour)).rstrip("\n")


def _draw(
    plotext: Any, figure: Any, x: Sequence[float], y: Sequence[float], *, symbol: str, colour: str, label: str
) -> None:
    signal = figure.signal(list(x), list(y), marker=plotext.marker(symbol, colour))
    signal.lines()
    if label:
        signal.label(label)
    figure.draw(signal)
