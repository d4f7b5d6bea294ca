import warnings
from typing import Any

import numpy as np
import pytest

from models.classical_forecast import ClassicalForecast
from satellite.cli.demo import load_series
from satellite.model import ModelInput


@pytest.fixture(scope="module")
def model() -> ClassicalForecast:
    loaded = ClassicalForecast()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own imports
        loaded.load("cpu")
    return loaded


def one(model: ClassicalForecast, data: Any, **config: Any) -> ClassicalForecast.Output:
    [outcome] = model.infer_batch([ModelInput(data=list(data), config=ClassicalForecast.Config(**config))])
    assert isinstance(outcome, ClassicalForecast.Output), outcome
    return outcome


@pytest.mark.parametrize("method, share", [("ets", 0.95), ("theta", 0.7)])
def test_a_real_series_is_forecast_better_than_by_its_last_value(
    model: ClassicalForecast, method: str, share: float
) -> None:
    series = load_series()
    past, future = np.array(series.history), np.array(series.actual)
    outcome = one(model, past, forecast_steps=len(future), season_length=52, method=method)
    error = np.abs(np.array(outcome.forecast) - future).mean()
    assert error < share * np.abs(past[-1] - future).mean()


@pytest.mark.parametrize("method", ["ets", "theta"])
@pytest.mark.parametrize(
    "data",
    [
        [1.2, 2.3, 3.1, 2.8],
        [5.0] * 30,
        [0.0] * 30,
        [1e30, -1e30] * 8,
        [0.0] * 50 + [1.0] * 3,
        [0.0, 0.0, 0.0, 0.0, 1e30],
        list(range(600)),
    ],
)
def test_odd_series_get_finite_ordered_forecasts_near_the_data(
    model: ClassicalForecast, method: str, data: list[float]
) -> None:
    outcome = one(model, data, forecast_steps=12, method=method)
    low, median, high = (np.array(outcome.quantiles[level]) for level in ("0.1", "0.5", "0.9"))
    span = max(data) - min(data)
    assert np.isfinite([low, median, high]).all()
    assert (low <= median).all() and (median <= high).all()
    assert outcome.forecast == outcome.quantiles["0.5"] and len(outcome.forecast) == 12
    assert min(data) - span <= median.min() <= median.max() <= max(data) + span


def test_a_season_that_was_not_seen_twice_is_not_used(model: ClassicalForecast) -> None:
    data = [1.0, 5.0, 2.0, 6.0, 3.0, 7.0, 4.0, 8.0, 5.0, 9.0]
    assert one(model, data, season_length=6).forecast == one(model, data, season_length=1).forecast


def test_fits_that_were_given_up_leave_no_warnings(model: ClassicalForecast) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        one(model, [0.0] * 20 + [1e-9] + [0.0] * 20, method="ets", season_length=7)
    assert caught == []
