"""Requests against a model's schema: what passes, and what the errors say."""

import json

import pytest

from satellite.catalog import Catalog, CatalogEntry
from satellite.config import ModelConfig
from satellite.errors import InvalidRequest, ModelNotFound
from satellite.registry import load_model
from satellite.settings import REPO_ROOT

DATA = [1.0, 2, 3.5, 4]


@pytest.fixture(scope="module")
def catalog():
    spec = load_model(REPO_ROOT / "models" / "moving_average.py")
    return Catalog({spec.name: CatalogEntry(spec=spec, config=ModelConfig())})


def test_defaults_are_filled_in(catalog):
    request = catalog.find("moving_average").validate(DATA, {"window": 2})
    assert json.loads(request.data) == DATA
    assert json.loads(request.config) == {"forecast_steps": 5, "window": 2}


@pytest.mark.parametrize(
    ("data", "config", "pointer", "words"),
    [
        ([1, 2, 3], {}, "/data", "at least 4"),
        ([1.0] * 4097, {}, "/data", "at most 4096"),
        ([1, 2, "3", 4], {}, "/data/2", "valid number"),
        ([1, 2, True, 4], {}, "/data/2", "valid number"),
        ([1, 2, None, 4], {}, "/data/2", "valid number"),
        ([1, 2, [3], 4], {}, "/data/2", "valid number"),
        ([1, 2, 1e31, 4], {}, "/data/2", "less than or equal"),
        ([1, 2, float("nan"), 4], {}, "/data/2", "valid number"),
        ([1, 2, 10**30, 4], {}, "/data", "64-bit"),
        ("1,2,3,4", {}, "/data", "valid array"),
        ({"0": 1}, {}, "/data", "valid array"),
        (DATA, {"forecast_steps": 0}, "/config/forecast_steps", "greater than or equal to 1"),
        (DATA, {"forecast_steps": "5"}, "/config/forecast_steps", "valid integer"),
        (DATA, {"forecast_steps": 5.5}, "/config/forecast_steps", "valid integer"),
        (DATA, {"forecast_step": 5}, "/config/forecast_step", "did you mean 'forecast_steps'"),
        (DATA, {"zzz": 5}, "/config/zzz", "known keys: forecast_steps, window"),
    ],
)
def test_what_does_not_fit_is_pointed_at(catalog, data, config, pointer, words):
    with pytest.raises(InvalidRequest) as caught:
        catalog.find("moving_average").validate(data, config)
    assert caught.value.errors[0]["pointer"] == pointer
    assert words in caught.value.errors[0]["detail"]
    assert pointer in caught.value.detail


def test_a_thousand_wrong_points_are_one_short_answer(catalog):
    with pytest.raises(InvalidRequest) as caught:
        catalog.find("moving_average").validate(["x"] * 1000, {})
    assert len(caught.value.errors) == 11
    assert "990 more" in caught.value.errors[-1]["detail"]


def test_an_unknown_model_names_the_nearest(catalog):
    with pytest.raises(ModelNotFound, match="did you mean 'moving_average'"):
        catalog.find("moving_avrage")
    with pytest.raises(ModelNotFound, match="there are: moving_average"):
        catalog.find("zzz")
