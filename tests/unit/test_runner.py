"""One outcome per input, whatever the model does."""

import json
import sys

import pytest
from pydantic import BaseModel, TypeAdapter

from satellite.errors import EnvironmentProblem, InvalidInput, InvalidOutput, ModelFailed, OutOfMemory
from satellite.model import ModelSpec
from satellite.runner import SMALL_BATCHES_S, BatchRunner


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


class Tight(Behaves):
    """Runs out of memory on batches larger than `room`, and on the value 99 even alone."""

    room = 3

    def infer_batch(self, inputs):
        self.batches.append([item.data for item in inputs])
        if len(inputs) > self.room or 99.0 in self.batches[-1]:
            raise type(self.error)(*self.error.args)  # a new one: an exception holds on to its frames
        return [self.Output(value=item.data) for item in inputs]

    error: Exception = MemoryError()


@pytest.fixture
def tight():
    now = [0.0]
    spec = ModelSpec(name="tight", cls=Tight, file="f", line=1, input=TypeAdapter(float))
    runner = BatchRunner(spec, "cpu", clock=lambda: now[0])
    return runner, now


def sizes(runner, count):
    """The sizes of the batches that the model saw."""
    runner._model.batches.clear()
    outcomes = run(runner, [(float(value), {}) for value in range(count)])
    assert [o.output for o in outcomes] == [b'{"value":%d.0}' % value for value in range(count)]
    return [len(batch) for batch in runner._model.batches]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")], ids=type
)
def test_a_batch_that_runs_out_of_memory_is_halved_and_stays_small_for_a_while(tight, monkeypatch, error):
    monkeypatch.setattr(Tight, "error", error)
    runner, now = tight
    assert sizes(runner, 8) == [8, 4, 2, 2, 2, 2]
    assert sizes(runner, 8) == [2, 2, 2, 2]
    now[0] += SMALL_BATCHES_S + 1
    assert sizes(runner, 3) == [3]
    assert sizes(runner, 4) == [4, 2, 2]


def test_an_input_that_does_not_fit_alone_fails_alone_and_says_why(tight):
    runner, _ = tight
    good, bad = run(runner, [(1.0, {}), (99.0, {})])
    assert good.output
    assert isinstance(bad.error, OutOfMemory)
    assert "smaller" in bad.error.detail
    assert sizes(runner, 3) == [3]  # nothing was learned about others


def test_what_a_batch_held_is_free_before_its_halves_run(tight, monkeypatch):
    class Held:
        alive = 0

        def __init__(self):
            Held.alive += 1

        def __del__(self):
            Held.alive -= 1

    def infer_batch(self, inputs):
        seen.append(Held.alive)
        tensor = Held()
        assert tensor
        return Tight.infer_batch(self, inputs)

    seen: list[int] = []
    runner, _ = tight
    runner._model.infer_batch = infer_batch.__get__(runner._model)
    run(runner, [(float(value), {}) for value in range(8)])
    assert seen == [0] * 6


def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch):
    class NoCuda:
        class cuda:
            @staticmethod
            def is_available():
                return False

    class Loads(Behaves):
        def load(self, device):
            if device == "cuda":
                raise RuntimeError("Torch not compiled with CUDA enabled")

    spec = ModelSpec(name="loads", cls=Loads, file="f", line=1, input=TypeAdapter(float))
    monkeypatch.setitem(sys.modules, "torch", NoCuda)
    with pytest.raises(EnvironmentProblem, match="SATELLITE_PROFILE=cpu"):
        BatchRunner(spec, "cuda")
    monkeypatch.setattr(NoCuda.cuda, "is_available", lambda: True)
    with pytest.raises(RuntimeError, match="not compiled"):
        BatchRunner(spec, "cuda")
