"""Registration: what fits the contract registers, what does not fails with file and line."""

import inspect

import pytest
from pydantic import BaseModel

from satellite.errors import ModelDefinitionError
from satellite.model import forget, register_model, registered
from satellite.series import Series


class Config(BaseModel, extra="forbid"):
    steps: int = 1


class Output(BaseModel):
    forecast: list[float]


def make(**changes):
    """A class that fits the contract, with some attributes changed or (None) removed."""

    class Fits:
        version = "1.0.0"
        Input = Series
        example = {"data": [1.0, 2.0, 3.0, 4.0]}  # noqa: RUF012

        def load(self, device): ...

        def infer_batch(self, inputs):
            return []

    Fits.Config, Fits.Output = Config, Output
    for name, value in changes.items():
        if value is None:
            delattr(Fits, name)
        else:
            setattr(Fits, name, value)
    return Fits


@pytest.fixture(autouse=True)
def _clean():
    before = set(registered())
    yield
    for name in set(registered()) - before:
        forget(name)


def test_a_class_that_fits_is_registered_and_stays_usable():
    cls = make()
    assert register_model("fits")(cls) is cls
    spec = registered()["fits"]
    assert spec.cls is cls
    assert spec.file == __file__
    assert spec.line == inspect.getsourcelines(cls)[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"load": None}, "no method load(self, device)"),
        ({"infer_batch": None}, "no method infer_batch(self, inputs)"),
        ({"infer_batch": lambda self: []}, "must take exactly (self, inputs)"),
        ({"Input": None}, "has no Input"),
        ({"Output": dict}, "Output must be a Pydantic model"),
        ({"Config": type("Config", (BaseModel,), {})}, "must forbid unknown keys"),
        ({"version": None}, "has no version"),
        ({"example": {"data": [1.0]}}, "example does not fit"),
        ({"example": {"data": [1.0, 2.0, 3.0, 4.0], "config": {"step": 1}}}, "example does not fit"),
        ({"example": {"inputs": []}}, 'example must be {"data"'),
    ],
)
def test_a_malformed_class_fails_with_file_and_line(changes, words):
    cls = make(**changes)
    with pytest.raises(ModelDefinitionError) as caught:
        register_model("broken")(cls)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{__file__}:")
    assert "broken" not in registered()


@pytest.mark.parametrize("name", ["", "1model", "a b", "ä", "a" * 64, "../x", "Ingress", "Webhooks"])
def test_a_malformed_name_fails(name):
    with pytest.raises(ModelDefinitionError):
        register_model(name)(make())


def test_a_taken_name_fails_and_names_both_places():
    first = make()
    register_model("taken")(first)
    with pytest.raises(ModelDefinitionError, match=r"is taken by .*test_model\.py:\d+"):
        register_model("taken")(make())
    assert registered()["taken"].cls is first
