"""The contract's checks: the shipped models pass, and each way to break it is named."""

import copy
import random

import pytest
from pydantic import BaseModel, TypeAdapter

from satellite.contract import check_model
from satellite.model import ModelSpec
from satellite.registry import load_model
from satellite.settings import REPO_ROOT


class Keeps:
    """Fits the contract; the broken ones differ from it in one thing."""

    version = "1"
    Input = list[float]

    class Config(BaseModel, extra="forbid"):
        steps: int = 2

    class Output(BaseModel):
        values: list[float]

    example = {"data": [3.0, 1.0, 2.0, 5.0]}  # noqa: RUF012

    def load(self, device): ...

    def infer_batch(self, inputs):
        return [self.one(item) for item in inputs]

    def one(self, item):
        return self.Output(values=[sum(item.data)] * item.config.steps)


class DoesNotLoad(Keeps):
    def load(self, device):
        raise FileNotFoundError("weights.bin")


class FailsItsExample(Keeps):
    def one(self, item):
        raise ValueError("no")


class AnswersTooFew(Keeps):
    def infer_batch(self, inputs):
        return super().infer_batch(inputs)[: max(1, len(inputs) - 1)]


class AnswersWithADictionary(Keeps):
    def one(self, item):
        return {"values": [1.0]}


class AnswersNaN(Keeps):
    def one(self, item):
        return self.Output(values=[float("nan")])


class SortsTheBatch(Keeps):
    def infer_batch(self, inputs):
        return super().infer_batch(sorted(inputs, key=lambda item: sum(item.data)))


class SeesTheBatch(Keeps):
    def infer_batch(self, inputs):
        longest = max(len(item.data) for item in inputs)
        return [self.Output(values=[sum(i.data) / longest] * i.config.steps) for i in inputs]


class UsesTheFirstConfig(Keeps):
    def infer_batch(self, inputs):
        return [self.Output(values=[sum(i.data)] * inputs[0].config.steps) for i in inputs]


class IsRandom(Keeps):
    def one(self, item):
        return self.Output(values=[random.random()])


class ChangesItsInputs(Keeps):
    def one(self, item):
        output = super().one(item)
        item.data.sort()
        return output


class LetsABadItemSpoilOthers(Keeps):
    def infer_batch(self, inputs):
        try:
            return super().infer_batch(inputs)
        except TypeError:
            return [ValueError("something in this batch is wrong")] * len(inputs)


class DoesNotReadBack(Keeps):
    class Output(BaseModel):
        values: list[float]
        note: bytes = b"\x80"

        model_config = {"ser_json_bytes": "base64"}


@pytest.fixture(autouse=True)
def _measure_briefly(monkeypatch):
    monkeypatch.setattr("satellite.contract.MEASURE_S", 0)


def check(cls):
    spec = ModelSpec(name="m", cls=cls, file=__file__, line=1, input=TypeAdapter(cls.Input))
    return check_model(spec)


@pytest.mark.parametrize("name", ["moving_average", "lstm_timeseries"])
def test_the_shipped_models_pass(name):
    report = check_model(load_model(REPO_ROOT / "models" / f"{name}.py"))
    assert report.passed, report.failures
    assert report.speed is not None
    [batch] = [check for check in report.checks if check.name == "batch"]
    assert "8 different inputs" in batch.detail


@pytest.mark.parametrize(
    ("cls", "name", "words"),
    [
        (DoesNotLoad, "load", "FileNotFoundError: weights.bin (test_contract.py:"),
        (FailsItsExample, "example", "ValueError: no (test_contract.py:"),
        (AnswersWithADictionary, "example", "an answer is dict, not Output"),
        (AnswersNaN, "example", "NaN"),
        (AnswersTooFew, "batch", "8 inputs, and as answer 7 outputs"),
        (SortsTheBatch, "batch", "right answers in wrong places"),
        (SeesTheBatch, "batch", "answers differ from those alone"),
        (UsesTheFirstConfig, "batch", "answers differ from those alone"),
        (IsRandom, "repeat", "other answers"),
        (ChangesItsInputs, "inputs", "changed its inputs"),
        (LetsABadItemSpoilOthers, "bad item", "changes the answers to others"),
        (DoesNotReadBack, "json", "read back as something else"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_breaks_the_contract_is_named(cls, name, words):
    report = check(cls)
    assert not report.passed
    assert report.speed is None
    found = {check.name: check for check in report.checks if not check.passed}
    assert words in found[name].detail
    assert found[name].hint
    assert report.failures


def test_nothing_else_is_named_of_a_model_that_fits():
    example = copy.deepcopy(Keeps.example)
    report = check(Keeps)
    assert report.passed, report.failures
    assert Keeps.example == example


class Text(Keeps):
    """Refuses what is made up: the check goes on with what it answers."""

    Input = str

    example = {"data": "aGVsbG8="}  # noqa: RUF012

    def one(self, item):
        if item.data != "aGVsbG8=":
            raise ValueError("not base64")
        return self.Output(values=[1.0] * item.config.steps)


def test_made_up_inputs_that_a_model_refuses_are_left_out():
    report = check(Text)
    assert report.passed, report.failures
