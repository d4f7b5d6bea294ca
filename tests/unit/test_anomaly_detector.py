import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from models.anomaly_detector import THRESHOLD, WINDOW, AnomalyDetector
from models.training.detection import adjusted, auc, f1, rolling_z
from satellite.artifacts import open_folder
from satellite.cli.demo import load_series
from satellite.model import ModelInput


@pytest.fixture(scope="module")
def model() -> Iterator[AnomalyDetector]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    loaded = AnomalyDetector()
    loaded.load("cpu", open_folder(AnomalyDetector.artifacts / AnomalyDetector.version))
    yield loaded
    torch.set_num_threads(threads)


def one(model: AnomalyDetector, data: Any, **config: Any) -> AnomalyDetector.Output:
    [outcome] = model.infer_batch([ModelInput(data=list(data), config=AnomalyDetector.Config(**config))])
    return outcome


def wave(count: int, noise: float = 0.1) -> np.ndarray:
    return np.sin(np.arange(count) * 2 * np.pi / 24) + noise * np.random.default_rng(0).normal(size=count)


def test_a_wrong_entry_in_a_real_series_is_found(model: AnomalyDetector) -> None:
    series = load_series()
    co2 = np.array(series.history + series.actual)
    usual = one(model, co2)
    co2[150] += 8  # ppm: the season is 6 from its low to its high
    outcome = one(model, co2)
    assert abs(int(np.argmax(outcome.scores)) - 150) <= 1
    assert 150 in outcome.anomalies
    assert outcome.scores[150] > 2 * max(usual.scores)
    assert usual.anomalies == []


def test_a_stretch_of_another_shape_is_found_where_no_point_is_far_out(model: AnomalyDetector) -> None:
    series = wave(1000)
    series[500:524] = -series[500:524]
    labels = np.zeros(1000, dtype=bool)
    labels[500:524] = True
    assert auc(np.array(one(model, series).scores), labels) > 0.95
    assert auc(rolling_z(series, 256), labels) < 0.7


@pytest.mark.parametrize("scale, shift", [(1e29, 0.0), (1e-29, 0.0), (1.0, 1e4), (-3.0, 0.0)])
def test_the_unit_of_the_data_does_not_matter(model: AnomalyDetector, scale: float, shift: float) -> None:
    series = wave(300)
    series[200] += 3
    plain, other = one(model, series), one(model, scale * series + shift)
    assert abs(int(np.argmax(other.scores)) - int(np.argmax(plain.scores))) <= 1
    if scale > 0:
        assert other.scores == pytest.approx(plain.scores, rel=0.01, abs=0.01)


@pytest.mark.parametrize("points", [8, 9, 23, 24, 25, 1000])
@pytest.mark.parametrize("window", [8, 24, 96])
def test_series_of_any_length_get_a_score_for_every_point(
    model: AnomalyDetector, points: int, window: int
) -> None:
    outcome = one(model, wave(points), window=window)
    assert len(outcome.scores) == points
    assert np.isfinite(outcome.scores).all() and min(outcome.scores) >= 0


@pytest.mark.parametrize("value", [0.0, 5.0, -1e30])
def test_a_constant_has_no_anomalies(model: AnomalyDetector, value: float) -> None:
    outcome = one(model, [value] * 100)
    assert outcome.anomalies == [] and set(outcome.scores) == {0.0}


def test_a_quantile_takes_the_place_of_the_threshold(model: AnomalyDetector) -> None:
    series = wave(1000)
    assert one(model, series, threshold=1e5).anomalies == []
    outcome = one(model, series, threshold=1e5, quantile=0.98)
    assert len(outcome.anomalies) == pytest.approx(20, abs=3)
    assert outcome.threshold < 1e5


def test_the_default_is_what_the_manifest_says_was_chosen() -> None:
    folder = AnomalyDetector.artifacts / AnomalyDetector.version
    choice = json.loads((folder / "manifest.json").read_text())["choice"]
    assert (choice["window"], choice["threshold"]) == (WINDOW, THRESHOLD)


def test_f1_and_adjusted_by_hand() -> None:
    labels = np.array([0, 1, 1, 0, 0, 1, 0], dtype=bool)
    flags = np.array([1, 0, 1, 0, 0, 0, 0], dtype=bool)
    # One of two flags is right, one of three points found: 2 * 1 / (2 + 3).
    assert f1(flags, labels) == pytest.approx(0.4)
    assert adjusted(flags, labels).tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert f1(np.zeros(7, dtype=bool), labels) == 0


def test_auc_by_hand() -> None:
    labels = np.array([0, 1, 0, 1], dtype=bool)
    # Of four pairs one is right, one wrong, two are ties.
    assert auc(np.array([2.0, 2.0, 1.0, 1.0]), labels) == pytest.approx(0.5)
    assert auc(np.array([0.0, 1.0, 0.5, 2.0]), labels) == 1


def test_rolling_z_by_hand() -> None:
    # Around the middle point: 0, 3, 0: mean 1, deviation sqrt(2).
    assert rolling_z(np.array([0.0, 0.0, 3.0, 0.0, 0.0]), 3)[2] == pytest.approx(2 / 2**0.5)
    assert rolling_z(np.full(9, 4.0), 3).tolist() == [0.0] * 9
