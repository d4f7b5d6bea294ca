import numpy as np
import pytest

from models.training.evaluate import (
    is_seasonal,
    mase,
    naive2,
    score,
    seasonal_factors,
    seasonal_naive,
    smape,
)
from models.training.m4 import Frequency, Split


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_smape_by_hand() -> None:
    # |100-50| / (100+50) = 1/3 and |200-200| = 0: the mean of 66.67 % and 0 %.
    assert smape(array(100, 200), array(50, 200)) == pytest.approx(100 / 3)


def test_smape_ends() -> None:
    assert smape(array(1, 2), array(1, 2)) == 0
    assert smape(array(1, 2), array(-1, -2)) == 200
    assert smape(array(0, 4), array(0, 4)) == 0


def test_mase_by_hand() -> None:
    # The naive errors inside are 1, 2, 3: mean 2. The forecast is off by 4 and 0: mean 2.
    assert mase(array(10, 11), array(14, 11), array(1, 2, 4, 7), 1) == pytest.approx(1)
    # With season 2 the errors inside are 3 and 5: mean 4.
    assert mase(array(10, 11), array(14, 11), array(1, 2, 4, 7), 2) == pytest.approx(0.5)


def test_seasonal_naive_repeats_the_last_season() -> None:
    train = array(9, 9, 1, 2, 3)
    assert seasonal_naive(train, 5, 3).tolist() == [1, 2, 3, 1, 2]
    assert seasonal_naive(train, 2, 1).tolist() == [3, 3]


@pytest.mark.parametrize("season", [3, 4])
def test_decomposition_finds_known_factors(season: int) -> None:
    factors = np.array([0.5, 1.0, 1.5, 1.0])[:season]
    factors = factors / factors.mean()
    train = 10.0 * np.resize(factors, 8 * season)
    assert seasonal_factors(train, season) == pytest.approx(factors)


def test_naive2_continues_a_multiplicative_season() -> None:
    factors = array(0.5, 1.0, 1.5, 1.0)
    train = 10.0 * np.resize(factors, 31)  # Ends inside a season, with factor 1.5.
    assert is_seasonal(train, 4)
    assert naive2(train, 6, 4) == pytest.approx(10 * array(1.0, 0.5, 1.0, 1.5, 1.0, 0.5))


def test_naive2_is_naive_without_a_season() -> None:
    noise = np.random.default_rng(3).normal(10, 1, 200)
    assert not is_seasonal(noise, 24)
    assert naive2(noise, 3, 24).tolist() == [noise[-1]] * 3
    assert naive2(noise, 3, 1).tolist() == [noise[-1]] * 3


def test_naive2_wants_three_seasons() -> None:
    # One peak a season stands out even in a short series: only the length decides here.
    train = np.resize(np.eye(12)[0], 36)
    assert is_seasonal(train, 12)
    assert not is_seasonal(train[:-1], 12)


def test_a_constant_series_is_not_seasonal() -> None:
    assert not is_seasonal(np.full(50, 7.0), 4)


def test_score_of_naive2_is_one_and_coverage_counts() -> None:
    frequency = Frequency(name="Test", season=1, horizon=2)
    splits = [Split(train=array(1, 2, 4, 7), held_out=array(8, 9))]
    own = score(splits, [naive2(splits[0].train, 2, 1)], frequency, np.array([[[7.5, 9.5], [8.5, 10.5]]]))
    assert own.owa == pytest.approx(1)
    assert own.coverage == pytest.approx(0.5)
    assert score(splits, [splits[0].held_out], frequency).owa == 0
