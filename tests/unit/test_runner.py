"""One outcome per input, whatever the model does."""

import json

import pytest
from pydantic import BaseModel, TypeAdapter

from satellite.errors import InvalidInput, InvalidOutput, ModelFailed
from satellite.model import ModelSpec
from satellite.runner import BatchRunner


class Behaves:
    """Doubles its input; what it does with some values is a test's business."""

    version = "1"
    Input = float

    class Config(BaseModel, extra="forbid"):
        times: int = 2

    class Output(BaseModel):
        value: float

    example = {"data": 1.0}  # noqa: RUF012
    batches: list[list[float]]

    def load(self, device):
        self.batches = []

    def infer_batch(self, inputs):
        values = [item.data for item in inputs]
        self.batches.append(values)
        if 13.0 in values:
            raise RuntimeError("poison")
        answers = {
            3.0: ValueError("not three"),
            4.0: InvalidInput("four is refused"),
            5.0: "no Output",
            6.0: self.Output(value=float("nan")),
            7.0: self.Output(value=float("inf")),
        }
        outputs = [
            answers.get(item.data, self.Output(value=item.data * item.config.times)) for item in inputs
        ]
        return outputs[:-1] if 99.0 in values else outputs


@pytest.fixture
def runner():
    spec = ModelSpec(name="behaves", cls=Behaves, file="f", line=1, input=TypeAdapter(float))
    runner = BatchRunner(spec, "cpu")
    runner.warm_up()
    return runner


def run(runner, items):
    return runner.run([(json.dumps(data), json.dumps(config)) for data, config in items])


def test_each_input_gets_its_own_answer_in_order(runner):
    outcomes = run(runner, [(1.0, {}), (2.0, {"times": 10})])
    assert [o.output for o in outcomes] == [b'{"value":2.0}', b'{"value":20.0}']


def test_an_exception_as_a_value_fails_that_input_alone(runner):
    outcomes = run(runner, [(1.0, {}), (3.0, {}), (4.0, {}), (2.0, {})])
    assert [type(o.error) for o in outcomes] == [type(None), ModelFailed, InvalidInput, type(None)]
    assert outcomes[2].error.detail == "four is refused"
    assert "not three" not in outcomes[1].error.detail  # what a model raises goes to the log only


def test_a_batch_that_raises_is_bisected_until_only_the_culprit_fails(runner):
    values = [1.0, 2.0, 8.0, 13.0, 9.0, 10.0, 11.0, 12.0]
    outcomes = run(runner, [(value, {}) for value in values])
    assert [o.error is None for o in outcomes] == [value != 13.0 for value in values]
    assert outcomes[4].output == b'{"value":18.0}'


@pytest.mark.parametrize("value", [5.0, 6.0, 7.0])
def test_an_answer_that_breaks_the_contract_is_an_error(runner, value):
    good, bad = run(runner, [(1.0, {}), (value, {})])
    assert good.output
    assert isinstance(bad.error, InvalidOutput)


def test_a_wrong_number_of_answers_is_an_error(runner):
    outcomes = run(runner, [(99.0, {})])
    assert isinstance(outcomes[0].error, InvalidOutput)


def test_an_input_that_does_not_validate_never_reaches_the_model(runner):
    bad, good = run(runner, [("x", {}), (1.0, {})])
    assert isinstance(bad.error, InvalidInput)
    assert good.output
    assert runner._model.batches[-1] == [1.0]


def test_a_model_that_fails_its_own_example_does_not_warm_up():
    class Broken(Behaves):
        example = {"data": 13.0}  # noqa: RUF012

    runner = BatchRunner(ModelSpec(name="b", cls=Broken, file="f", line=1, input=TypeAdapter(float)), "cpu")
    with pytest.raises(ModelFailed):
        runner.warm_up()
