"""Scores forecasts as the M4 competition did, and the simple forecasts to beat.

    python -m models.training.evaluate --data FOLDER

The weights in use were trained on all there is. What is scored are their twins: the same networks, trained in
the same way without the last four blocks of every series.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.lstm_timeseries import LSTMTimeSeries
from models.moving_average import MovingAverage
from models.training.m4 import FREQUENCIES, Frequency, Split, read_splits
from satellite.artifacts import open_folder
from satellite.model import Model, ModelInput

Array = NDArray[np.float64]
BATCH = 8
# The folder of the twins, in that of a version, and how many blocks of every series they have not seen.
TWINS, HELD_OUT_BLOCKS = "held_out", 4


def smape(actual: Array, forecast: Array) -> float:
    """Symmetric mean absolute percentage error, 0 to 200 %, as the M4 competition defines it."""
    total = np.abs(actual) + np.abs(forecast)
    error = np.abs(actual - forecast)
    # Where both are 0 the forecast is right.
    return float(200 * np.mean(np.divide(error, total, out=np.zeros_like(total), where=total > 0)))


def mase(actual: Array, forecast: Array, train: Array, season: int) -> float:
    """Mean absolute error over that of the seasonal naive forecast inside `train`.

    Source: Hyndman and Koehler, "Another look at measures of forecast accuracy", Int. J. Forecasting 22
    (2006).
    """
    scale = np.mean(np.abs(train[season:] - train[:-season]))
    return float(np.mean(np.abs(actual - forecast)) / scale)


def seasonal_naive(train: Array, steps: int, season: int) -> Array:
    """The last season, over and over; with season 1 the last value."""
    return np.resize(train[-season:], steps)


def is_seasonal(train: Array, season: int) -> bool:
    """The M4 competition's test: the autocorrelation at the season stands out at 90 % confidence."""
    if season < 2 or len(train) < 3 * season:
        return False
    centred = train - train.mean()
    power = centred @ centred
    if power == 0:
        return False
    correlation = np.array([centred[lag:] @ centred[:-lag] for lag in range(1, season + 1)]) / power
    limit = 1.645 * np.sqrt((1 + 2 * np.sum(correlation[:-1] ** 2)) / len(train))
    return bool(abs(correlation[-1]) > limit)


def seasonal_factors(train: Array, season: int) -> Array:
    """Classical multiplicative decomposition.

    Returns:
        Shape (season,), mean 1; entry i belongs to the points at places i, i + season, i + 2 season, ...
    """
    if season % 2:
        weights = np.full(season, 1 / season)
    else:
        weights = np.concatenate([[0.5], np.ones(season - 1), [0.5]]) / season
    trend = np.convolve(train, weights, mode="valid")
    start = len(weights) // 2
    ratio = train[start : start + len(trend)] / trend
    phase = (start + np.arange(len(trend))) % season
    factors = np.array([ratio[phase == i].mean() for i in range(season)])
    return factors / factors.mean()


def naive2(train: Array, steps: int, season: int) -> Array:
    """The competition's yardstick: the last value without its season, and the season put back.

    Source: Makridakis, Spiliotis and Assimakopoulos, "The M4 Competition: Results, findings, conclusion and
    way forward", Int. J. Forecasting 34 (2018).
    """
    if not is_seasonal(train, season):
        return np.full(steps, train[-1])
    factors = seasonal_factors(train, season)
    last = len(train) - 1
    ahead = (last + 1 + np.arange(steps)) % season
    return train[-1] / factors[last % season] * factors[ahead]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Means over all series of one frequency; `coverage` is the share of true values inside the band."""

    smape: float
    mase: float
    owa: float
    coverage: float | None = None


def score(
    splits: Sequence[Split], forecasts: Sequence[Array], frequency: Frequency, bands: Array | None = None
) -> Score:
    """Score one method on one frequency.

    Args:
        splits: the series.
        forecasts: one array of shape (horizon,) for each.
        frequency: its season scales the MASE.
        bands: shape (series, 2, horizon), lower and upper bound, where the method has any.

    Returns:
        The scores; OWA is the mean of sMAPE and MASE, each over Naive2's on the same points.
    """
    means = _means(splits, forecasts, frequency)
    yardstick = _means(
        splits, [naive2(s.train, frequency.horizon, frequency.season) for s in splits], frequency
    )
    coverage = None
    if bands is not None:
        actual = np.array([split.held_out for split in splits])
        coverage = float(np.mean((bands[:, 0] <= actual) & (actual <= bands[:, 1])))
    owa = (means[0] / yardstick[0] + means[1] / yardstick[1]) / 2
    return Score(smape=means[0], mase=means[1], owa=owa, coverage=coverage)


def _means(splits: Sequence[Split], forecasts: Sequence[Array], frequency: Frequency) -> tuple[float, float]:
    pairs = list(zip(splits, forecasts, strict=True))
    return (
        float(np.mean([smape(split.held_out, forecast) for split, forecast in pairs])),
        float(
            np.mean(
                [mase(split.held_out, forecast, split.train, frequency.season) for split, forecast in pairs]
            )
        ),
    )


def run_model(model: Model, splits: Sequence[Split], **config: int | None) -> list[dict[str, Array]]:
    """Forecast each series through the model's own `infer_batch`, eight at a time."""
    settings = model.Config(**config)
    inputs = [ModelInput(data=split.train.tolist(), config=settings) for split in splits]
    answers: list[dict[str, Array]] = []
    for start in range(0, len(inputs), BATCH):
        for outcome in model.infer_batch(inputs[start : start + BATCH]):
            if isinstance(outcome, Exception):
                raise outcome
            fields = outcome.model_dump()
            levels = {level: np.array(values) for level, values in fields.get("quantiles", {}).items()}
            answers.append({"forecast": np.array(fields["forecast"]), **levels})
    return answers


def evaluate(model: LSTMTimeSeries, folder: Path, drop_blocks: int = 0) -> dict[str, dict[str, Score]]:
    """Score the model, with the season given and with it found, beside the simple forecasts.

    Returns:
        The scores by frequency and method.
    """
    average = MovingAverage()
    table: dict[str, dict[str, Score]] = {}
    for frequency in FREQUENCIES:
        splits = read_splits(folder, frequency, drop_blocks)
        rows = table[frequency.name] = {}
        for name, season in (("model", frequency.season), ("model, season found", None)):
            answers = run_model(model, splits, forecast_steps=frequency.horizon, season_length=season)
            bands = np.array([[answer["0.1"], answer["0.9"]] for answer in answers])
            rows[name] = score(splits, [answer["forecast"] for answer in answers], frequency, bands)
        simple: dict[str, Callable[[Array, int, int], Array]] = {
            "seasonal naive": seasonal_naive,
            "Naive2": naive2,
        }
        for name, method in simple.items():
            forecasts = [method(split.train, frequency.horizon, frequency.season) for split in splits]
            rows[name] = score(splits, forecasts, frequency)
        answers = run_model(average, splits, forecast_steps=frequency.horizon)
        rows["moving average"] = score(splits, [answer["forecast"] for answer in answers], frequency)
    return table


def recorded(model: LSTMTimeSeries) -> dict[str, dict[str, Score]]:
    """The scores as the manifest of the weights has them."""
    manifest = open_folder(model.artifacts / model.version).manifest
    return {
        name: {method: Score(**row) for method, row in rows.items()}
        for name, rows in manifest.metrics.items()
    }


def as_text(table: dict[str, dict[str, Score]]) -> str:
    """The scores as a Markdown table."""
    lines = ["| frequency | forecast | sMAPE | MASE | OWA | in the band |", "|---|---|---|---|---|---|"]
    for frequency, rows in table.items():
        for name, row in rows.items():
            coverage = "" if row.coverage is None else f"{100 * row.coverage:.1f} %"
            lines.append(
                f"| {frequency} | {name} | {row.smape:.3f} | {row.mase:.3f} | {row.owa:.3f} | {coverage} |"
            )
    return "\n".join(lines)


def held_out_twins(artifacts: Path) -> LSTMTimeSeries:
    """The model with the weights that have not seen the last four blocks of any series.

    Args:
        artifacts: folder of the versions.
    """
    model = LSTMTimeSeries()
    model.load("cpu", open_folder(artifacts / model.version / TWINS))
    return model


def main() -> None:
    """Print the table for one cut-off."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the M4 training files")
    parser.add_argument(
        "--artifacts", type=Path, default=LSTMTimeSeries.artifacts, help="folder of other versions"
    )
    parser.add_argument(
        "--drop-blocks",
        type=int,
        default=0,
        choices=range(HELD_OUT_BLOCKS),
        help="1: score the points before the hold-out, and so on",
    )
    options = parser.parse_args()
    print(as_text(evaluate(held_out_twins(options.artifacts), options.data, options.drop_blocks)))


if __name__ == "__main__":
    main()
