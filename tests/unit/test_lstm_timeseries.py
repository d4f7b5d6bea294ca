import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from models.lstm_timeseries import LSTMTimeSeries
from models.nets.season import check_season, find_season
from satellite.artifacts import open_folder
from satellite.cli.demo import load_series, mean_absolute_error, seasonal_naive
from satellite.errors import InvalidInput, VersionFailed
from satellite.model import ModelInput


@pytest.fixture(scope="module")
def model() -> Iterator[LSTMTimeSeries]:
    import torch

    threads = torch.get_num_threads()
    # Work this small only gets slower by being shared out, above all on a busy machine.
    torch.set_num_threads(1)
    loaded = LSTMTimeSeries()
    loaded.load("cpu", open_folder(LSTMTimeSeries.artifacts / LSTMTimeSeries.version))
    yield loaded
    torch.set_num_threads(threads)


def request(data: Any, **config: Any) -> ModelInput:
    return ModelInput(data=list(data), config=LSTMTimeSeries.Config(**config))


def one(model: LSTMTimeSeries, data: Any, **config: Any) -> LSTMTimeSeries.Output:
    [outcome] = model.infer_batch([request(data, **config)])
    assert isinstance(outcome, LSTMTimeSeries.Output), outcome
    return outcome


def wave(count: int, season: int = 24, noise: float = 0.0, trend: float = 0.0, seed: int = 0) -> np.ndarray:
    time = np.arange(count)
    random = np.random.default_rng(seed).normal(size=count)
    return 10 + trend * time + 3 * np.sin(2 * np.pi * time / season) + noise * random


MIXED = [
    request([1.2, 2.3, 3.1, 2.8]),
    request(LSTMTimeSeries.example["data"], forecast_steps=5),
    request(wave(200, noise=0.3), forecast_steps=60, season_length=24),
    request(wave(4096, noise=0.5, trend=0.01), forecast_steps=512),
    request(np.random.default_rng(1).normal(size=700).cumsum(), forecast_steps=100, season_length=1),
    request(wave(90, season=7, noise=0.2) * 1e6, forecast_steps=20),
    request([5.0] * 30, forecast_steps=48),
    request(wave(2000, season=168), forecast_steps=49, season_length=1024),
]


def test_a_batch_of_eight_equals_eight_batches_of_one(model: LSTMTimeSeries) -> None:
    together = model.infer_batch(MIXED)
    assert len(together) == len(MIXED)
    for item, outcome in zip(MIXED, together, strict=True):
        [alone] = model.infer_batch([item])
        size = np.abs(item.data).max()
        assert len(outcome.forecast) == item.config.forecast_steps
        for level, values in outcome.quantiles.items():
            assert np.array(values) == pytest.approx(
                np.array(alone.quantiles[level]), rel=1e-4, abs=1e-5 * size
            )


def test_quantiles_are_ordered_and_the_median_is_the_forecast(model: LSTMTimeSeries) -> None:
    for outcome in model.infer_batch(MIXED):
        assert set(outcome.quantiles) == {"0.1", "0.5", "0.9"}
        low, median, high = (np.array(outcome.quantiles[level]) for level in ("0.1", "0.5", "0.9"))
        assert np.isfinite([low, median, high]).all()
        assert (low <= median).all() and (median <= high).all()
        assert outcome.forecast == outcome.quantiles["0.5"]


@pytest.mark.parametrize("value", [0.0, 5.0, -1e30, 1e-300])
@pytest.mark.parametrize("points", [4, 300])
def test_a_constant_stays_constant(model: LSTMTimeSeries, value: float, points: int) -> None:
    outcome = one(model, [value] * points, forecast_steps=60)
    for values in outcome.quantiles.values():
        assert values == pytest.approx([value] * 60, rel=1e-9, abs=0)


@pytest.mark.parametrize("scale", [1e29, 1e-29])
def test_the_unit_of_the_data_does_not_matter(model: LSTMTimeSeries, scale: float) -> None:
    data = wave(100, noise=0.3)
    plain = np.array(one(model, data, forecast_steps=20, season_length=24).forecast)
    scaled = np.array(one(model, scale / 20 * data, forecast_steps=20, season_length=24).forecast)
    assert scaled == pytest.approx(scale / 20 * plain, rel=1e-4)


def test_far_from_zero_the_level_does_not_matter(model: LSTMTimeSeries) -> None:
    # Near zero it does: what doubles from 1 to 2 is another thing than what grows from 1001 to 1002.
    data = wave(100, noise=0.3)
    low = np.array(one(model, data + 1e3, forecast_steps=20, season_length=24).forecast)
    high = np.array(one(model, data + 1e6, forecast_steps=20, season_length=24).forecast)
    assert high - 1e6 == pytest.approx(low - 1e3, abs=0.05)


@pytest.mark.parametrize(
    "data",
    [
        [1e30, -1e30] * 8,
        [0.0] * 50 + [1.0] * 3,
        [1.0, 1.0, 1.0, 2.0],
        [0.0, 0.0, 0.0, 0.0, 1e30],
        [1e-300, 2e-300, 3e-300, 1e-300, 2e-300],
        list(range(4096)),
    ],
)
def test_odd_series_get_finite_forecasts_near_the_data(model: LSTMTimeSeries, data: list[float]) -> None:
    outcome = one(model, data, forecast_steps=24)
    span = max(data) - min(data)
    assert np.isfinite(list(outcome.quantiles.values())).all()
    assert min(data) - 2 * span <= min(outcome.forecast) <= max(outcome.forecast) <= max(data) + 2 * span


@pytest.mark.parametrize("kind", ["walk", "wave", "short", "trend"])
def test_512_steps_do_not_run_away(model: LSTMTimeSeries, kind: str) -> None:
    data = {
        "walk": np.random.default_rng(5).normal(size=500).cumsum(),
        "wave": wave(240, noise=0.3),
        "short": np.array([1.2, 2.3, 3.1, 2.8]),
        "trend": 0.5 * np.arange(100) + np.random.default_rng(6).normal(size=100),
    }[kind]
    forecast = np.array(one(model, data, forecast_steps=512).forecast)
    span = data.max() - data.min()
    # A trend may go on: 512 steps of the steepest line that the data could mean, and some.
    reach = span * (2 + 512 / len(data))
    assert data.min() - reach <= forecast.min() <= forecast.max() <= data.max() + reach


@pytest.mark.parametrize("season_length", [24, None])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_season_with_a_trend_is_forecast(
    model: LSTMTimeSeries, season_length: int | None, noise: float
) -> None:
    series = wave(240 + 48, noise=noise, trend=0.02)
    past, future = series[:240], series[240:]
    forecast = np.array(one(model, past, forecast_steps=48, season_length=season_length).forecast)
    error = np.abs(forecast - future).mean()
    assert error < 0.4 * np.abs(past[-1] - future).mean()


def test_later_blocks_go_on_where_the_first_ended(model: LSTMTimeSeries) -> None:
    # 48 is no multiple of 20: a block that starts in the wrong place is out of phase.
    series = wave(200 + 144, season=20)
    outcome = one(model, series[:200], forecast_steps=144, season_length=20)
    assert np.abs(np.array(outcome.forecast) - series[200:]).max() < 1


def test_later_blocks_are_less_certain(model: LSTMTimeSeries) -> None:
    data = np.random.default_rng(2).normal(size=300).cumsum()
    outcome = one(model, data, forecast_steps=144, season_length=1)
    width = np.array(outcome.quantiles["0.9"]) - np.array(outcome.quantiles["0.1"])
    assert width[47] <= width[48:96].min()
    assert width[95] <= width[96:].min()


def test_the_band_holds_most_of_the_future(model: LSTMTimeSeries) -> None:
    inside = []
    for seed in range(16):
        series = wave(240 + 24, noise=0.5, seed=seed)
        outcome = one(model, series[:240], forecast_steps=24, season_length=24)
        inside.append((series[240:] >= outcome.quantiles["0.1"]) & (series[240:] <= outcome.quantiles["0.9"]))
    assert 0.6 < np.mean(inside) < 0.97


def test_one_bad_item_does_not_fail_the_others(model: LSTMTimeSeries) -> None:
    bad = ModelInput(data=[1.0, float("nan"), 2.0, 3.0], config=LSTMTimeSeries.Config())
    strange = ModelInput(data=["a", "b"], config=LSTMTimeSeries.Config())
    good = request(LSTMTimeSeries.example["data"])
    first, second, third = model.infer_batch([bad, strange, good])
    assert isinstance(first, InvalidInput)
    assert isinstance(second, Exception)
    assert third.forecast == pytest.approx(one(model, good.data).forecast, rel=1e-4)


def test_a_batch_of_none_and_of_only_bad_items(model: LSTMTimeSeries) -> None:
    assert model.infer_batch([]) == []
    [outcome] = model.infer_batch([ModelInput(data=[], config=LSTMTimeSeries.Config())])
    assert isinstance(outcome, InvalidInput)


def test_a_season_longer_than_the_data_is_not_used(model: LSTMTimeSeries) -> None:
    data = LSTMTimeSeries.example["data"]
    assert one(model, data, season_length=1000).forecast == one(model, data, season_length=1).forecast


@pytest.mark.parametrize(
    "config", [{"forecast_steps": 0}, {"forecast_steps": 513}, {"season_length": 0}, {"seasons": 3}]
)
def test_config_is_checked(config: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        LSTMTimeSeries.Config(**config)


@pytest.mark.parametrize("season", [4, 7, 12, 24, 52])
def test_the_season_is_found(season: int) -> None:
    assert find_season(wave(8 * season, season=season, noise=0.3, trend=0.05)) == season


def test_no_season_is_found_where_there_is_none() -> None:
    random = np.random.default_rng(0)
    assert find_season(np.full(100, 3.0)) == 1
    assert find_season(np.arange(100.0)) == 1
    assert find_season(random.normal(size=11)) == 1
    found = [find_season(random.normal(size=500).cumsum()) for _ in range(50)]
    assert found.count(1) >= 48
    # A walk whose steps are large every fourth time differs least from itself after four steps, and has no
    # season all the same.
    steps = random.normal(size=(50, 500)) * np.where(np.arange(500) % 4, 0.3, 1.0)
    assert [find_season(walk.cumsum()) for walk in steps].count(1) >= 48


def test_a_given_season_is_taken_unless_it_is_plainly_wrong() -> None:
    noisy = wave(400, season=24, noise=0.5)
    assert check_season(noisy, 24) == 24
    assert check_season(noisy, 20) == 20
    assert check_season(noisy, 1) == 1
    assert check_season(noisy[:30], 24) == 1
    exact = wave(400, season=23)
    assert check_season(exact, 24) == 23
    assert check_season(exact, 46) == 46
    # A day inside a week: the week is what the caller means.
    assert check_season(wave(800, season=24), 168) == 168


def over_the_last_value(model: LSTMTimeSeries, series: np.ndarray, points: int) -> float:
    """How far the model is off over how far the last value is, five steps ahead, from many moments."""
    starts = range(0, len(series) - points - 5, 3)
    items = [request(series[start : start + points], forecast_steps=5) for start in starts]
    errors, naive = [], []
    for start, outcome in zip(starts, model.infer_batch(items), strict=True):
        end = start + points
        errors.append(np.abs(outcome.forecast - series[end : end + 5]).mean())
        naive.append(np.abs(series[end - 1] - series[end : end + 5]).mean())
    return float(np.mean(errors) / np.mean(naive))


def test_short_inputs_are_forecast_better_than_by_the_last_value(model: LSTMTimeSeries) -> None:
    co2 = np.array(load_series().history)
    by_length = [over_the_last_value(model, co2, points) for points in (6, 8, 12, 16)]
    assert np.mean(by_length) < 0.97
    assert max(by_length) < 1.02
    # A third of a season, too short for it to be known.
    assert over_the_last_value(model, wave(300, noise=0.3), 8) < 0.9


def test_a_year_of_weeks_is_forecast_better_than_by_the_last_one(model: LSTMTimeSeries) -> None:
    series = load_series()
    for season in (52, 1):
        forecast = one(model, series.history, forecast_steps=52, season_length=season).forecast
        naive = seasonal_naive(series.history, 52, 52)
        assert mean_absolute_error(forecast, series.actual) < 0.6 * mean_absolute_error(naive, series.actual)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / LSTMTimeSeries.version
    shutil.copytree(LSTMTimeSeries.artifacts / LSTMTimeSeries.version, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.get("about", manifest)["hyper"]["hidden"] += 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(VersionFailed, match="do not fit the network"):
        LSTMTimeSeries().load("cpu", open_folder(folder))


def test_importing_the_model_does_not_import_torch() -> None:
    code = (
        "import sys, models.lstm_timeseries as _; sys.exit(bool({'torch', 'safetensors'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
