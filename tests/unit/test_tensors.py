"""Arrays of numbers: the same inputs pass as of JSON, and the model sees the same lists."""

from typing import Annotated

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from satellite.batching import Tensor
from satellite.catalog import CatalogEntry
from satellite.config import ModelConfig
from satellite.errors import InvalidRequest
from satellite.registry import load_model
from satellite.runner import BatchRunner
from satellite.series import Point, Series
from satellite.settings import REPO_ROOT
from satellite.tensors import NumericInput, pack, unpack

Open = Annotated[float, Field(allow_inf_nan=False, gt=0, lt=2)]
Grid = Annotated[list[Annotated[list[Open], Field(min_length=1, max_length=2)]], Field(max_length=3)]
EDGES = st.sampled_from([0.0, 2.0, 1e30, -1e30, 1.1e30, float("inf"), float("-inf"), float("nan")])


def valid(adapter, value):
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


@settings(max_examples=60)
@given(st.lists(EDGES | st.floats(-10, 10), max_size=6))
def test_an_array_passes_where_its_list_passes(numbers):
    adapter = TypeAdapter(Series)
    assert NumericInput.of(adapter).fits(np.array(numbers, np.float64)) == valid(adapter, numbers)


@settings(max_examples=60)
@given(st.integers(0, 4), st.integers(0, 3), st.data())
def test_an_array_of_two_dimensions_too(rows, columns, data):
    adapter = TypeAdapter(Grid)
    row = st.lists(EDGES | st.floats(0.1, 1.9), min_size=columns, max_size=columns)
    numbers = data.draw(st.lists(row, min_size=rows, max_size=rows))
    array = np.array(numbers, np.float64).reshape(rows, columns)
    # Of no rows the array still knows their length, which the list does not.
    assert NumericInput.of(adapter).fits(array) == valid(adapter, numbers) or not rows


@pytest.mark.parametrize(
    "other",
    [
        float,
        list[int],
        list[float],  # may be NaN
        list[str],
        dict[str, float],
        tuple[Point, ...],
        list[Point | None],
        list[Annotated[float, Field(allow_inf_nan=False, multiple_of=2)]],
        Annotated[list[Point], AfterValidator(sorted)],
        list[Annotated[Point, AfterValidator(abs)]],
    ],
)
def test_other_inputs_are_left_to_their_schema(other):
    assert NumericInput.of(TypeAdapter(other)) is None


@settings(max_examples=40)
@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20))
def test_a_tensor_keeps_every_bit(numbers):
    assert unpack(pack(numbers)).tolist() == numbers


@pytest.mark.parametrize("numbers", [[[1.0], [1.0, 2.0]], [10**400]], ids=["ragged", "too large"])
def test_what_is_no_array_is_no_tensor(numbers):
    assert pack(numbers) is None


@pytest.fixture(scope="module")
def entry():
    spec = load_model(REPO_ROOT / "models" / "moving_average.py")
    return CatalogEntry(spec=spec, config=ModelConfig())


@pytest.mark.parametrize("data", [[1, 2.5, 3, 4], np.array([1, 2.5, 3, 4])], ids=["list", "array"])
def test_what_is_not_stored_travels_as_a_tensor(entry, data):
    request = entry.validate_unstored(data, {"window": 4})
    assert request.data == Tensor((4,), np.array([1, 2.5, 3, 4]).tobytes())
    assert request.size_bytes == 32 + len(request.config)
    (outcome,) = BatchRunner(entry.spec, "cpu").run([(request.data, request.config)])
    assert b"2.625" in outcome.output


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 2e30])
def test_an_array_is_refused_in_the_words_of_json(entry, bad):
    with pytest.raises(InvalidRequest) as caught:
        entry.validate_unstored(np.array([1.0, 2.0, bad, 4.0]), {})
    assert caught.value.errors[0]["pointer"] == "/data/2"


def test_a_replica_looks_again(entry):
    """During a deploy its model may ask for more than the one that the ingress knows."""
    (outcome,) = BatchRunner(entry.spec, "cpu").run([(pack([1.0, 2.0]), "{}")])
    assert outcome.error.code == "invalid_input"
