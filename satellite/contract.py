"""Holds a model to its contract: `satellite check-model` shows the report, and a model's own test asserts it.

A model has one example; what a batch needs beyond it is made from it: other numbers, other lengths, other
settings, as far as the model's own types allow them and the model answers them.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, TypeGuard, cast

import orjson
import psutil
from pydantic import BaseModel, ValidationError

from satellite.artifacts import Artifact, open_folder
from satellite.device import Device, explain_load_failure, limit_torch_threads
from satellite.model import Model, ModelInput, ModelSpec
from satellite.runner import all_finite, to_json

BATCH = 8
# Two answers are the same if their numbers differ by no more than this share of the largest number in them:
# float32 sums its products in another order in another batch.
TOLERANCE = 1e-4
# A slow model gets fewer different inputs rather than a long check.
SEARCH_S = 20.0
MEASURE_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part of the contract.

    Attributes:
        name: one word.
        passed: whether it holds.
        detail: what was seen.
        hint: what to do if it does not hold.
    """

    name: str
    passed: bool
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a replica costs. Memory is that of the process, with what `load` imports, and of the GPU."""

    load_s: float
    memory_bytes: int
    one_ms: float
    eight_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of it. Checks that need one that failed are not in it; neither is the speed."""

    model: str
    version: str
    place: str
    device: str
    checks: tuple[Check, ...]
    speed: Speed | None

    @property
    def passed(self) -> bool:
        """Whether all of the contract holds."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """What does not hold and what to do, a line each."""
        return "\n".join(f"{c.name}: {c.detail}. {c.hint}" for c in self.checks if not c.passed)


class _Broken(Exception):
    """The check that runs does not hold."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail, hint)
        self.detail, self.hint = detail, hint


def check_model(spec: ModelSpec, device: str = "cpu", *, torch_threads: int | None = None) -> Report:
    """Load a model and hold it to its contract.

    Args:
        spec: the model.
        device: "cpu" or "cuda".
        torch_threads: as a replica would have; left out, torch's own choice.

    Returns:
        The report. Whatever the model does is in it; nothing is raised.
    """
    examination = _Examination(spec, Device.of(device), torch_threads)
    checks: list[Check] = []
    for name, check, is_vital in (
        ("load", examination.load, True),
        ("example", examination.example, True),
        ("json", examination.json, False),
        ("batch", examination.batch, False),
        ("repeat", examination.repeat, False),
        ("inputs", examination.inputs, False),
        ("bad item", examination.bad_item, False),
    ):
        try:
            checks.append(Check(name=name, passed=True, detail=check()))
        except _Broken as broken:
            checks.append(Check(name=name, passed=False, detail=broken.detail, hint=broken.hint))
            if is_vital:
                break
    whole = all(check.passed for check in checks)
    return Report(
        model=spec.name,
        version=spec.version,
        place=spec.place,
        device=device,
        checks=tuple(checks),
        speed=examination.speed() if whole else None,
    )


class _Examination:
    """The checks in their order; each returns what it saw, and the later use what the earlier found."""

    def __init__(self, spec: ModelSpec, device: Device, torch_threads: int | None) -> None:
        self.spec = spec
        self.device = device
        self.torch_threads = torch_threads
        self.model: Model = spec.cls()
        self.load_s, self.memory_bytes = 0.0, 0
        self.different: list[tuple[str, str]] = []  # data and config, as JSON, that the model answers
        self.alone: list[Any] = []  # its answers to them, as JSON values

    def load(self) -> str:
        before, began = _memory_bytes(), time.perf_counter()
        try:
            artifact = [self._artifact()] if self.spec.takes_artifact else []
            self.model.load(self.device, *artifact)
        except Exception as error:
            problem = explain_load_failure(self.device)
            raise _Broken(
                self._words(error), str(problem) if problem else "A replica would not start; correct `load`"
            ) from error
        if self.torch_threads is not None and self.device == "cpu":
            limit_torch_threads(self.torch_threads)
        self.load_s = time.perf_counter() - began
        self.memory_bytes = max(0, _memory_bytes() - before)
        return f"{self.load_s:.2f} s"

    def _artifact(self) -> Artifact:
        return open_folder(self.spec.artifacts / self.spec.version)

    def example(self) -> str:
        given = self.spec.cls.example
        own = to_json(given["data"]), to_json(given.get("config", {}))
        answer = self._answers(self._inputs([own]))[0]
        self.different, self.alone = [own], [answer]
        text = to_json(answer)
        return text if len(text) <= 60 else f"{text[:57]}..."

    def json(self) -> str:
        output = self.model.infer_batch(self._inputs(self.different))[0]
        assert isinstance(output, BaseModel)
        text = output.model_dump_json()
        try:
            again = self.spec.cls.Output.model_validate_json(text).model_dump_json()
        except ValidationError as error:
            again = str(error).splitlines()[-1]
        if again != text:
            raise _Broken(
                f"an answer written as JSON is read back as something else: {again[:80]}",
                "Callers see JSON: give Output types that survive it, such as list[float]",
            )
        return f"{len(text):,} bytes, read back as written"

    def batch(self) -> str:
        self._find_different()
        together = self._answers(self._batch())
        alone = self._eight(self.alone)
        wrong = [place for place, pair in enumerate(zip(together, alone, strict=True)) if _differ(*pair)]
        if wrong:
            found = [any(not _differ(together[place], other) for other in alone) for place in wrong]
            if all(found):
                raise _Broken(
                    f"right answers in wrong places: {', '.join(map(str, wrong))}",
                    "Output i must answer input i: undo what sorts or groups the batch",
                )
            raise _Broken(
                f"answers differ from those alone in places {', '.join(map(str, wrong))}: "
                f"{_first_difference(together[wrong[0]], alone[wrong[0]])}",
                "Inputs must not see each other: mask what pads them, use each input's own config, and no "
                "statistics of the batch (torch: `net.eval()`)",
            )
        inputs = "inputs" if len(self.different) > 1 else "input"
        return (
            f"{BATCH} together as alone, in order ({len(self.different)} different {inputs}, {TOLERANCE:g})"
        )

    def repeat(self) -> str:
        first, second = self._answers(self._batch()), self._answers(self._batch())
        for one, other in zip(first, second, strict=True):
            if _differ(one, other):
                raise _Broken(
                    f"the same batch twice, and other answers: {_first_difference(one, other)}",
                    "A job may be computed again: take a seed from the config, or give the example settings "
                    "under which nothing is random",
                )
        return "the same batch twice, the same answers"

    def inputs(self) -> str:
        batch = self._batch()
        before = [self._text(item) for item in batch]
        self._answers(batch)
        if [self._text(item) for item in batch] != before:
            raise _Broken("the model changed its inputs", "Work on a copy: a batch that raises is run again")
        return "left as they were"

    def bad_item(self) -> str:
        batch = self._batch()
        batch[3] = ModelInput(data=object(), config=batch[3].config)
        try:
            outputs = self.model.infer_batch(batch)
        except Exception as error:
            seen = f"raises {type(error).__name__}; the batch is halved until it fails alone"
            outputs = self._answers(self._batch())
        else:
            seen = "fails alone, as a value" if isinstance(outputs[3], Exception) else "is answered"
        alone = self._eight(self.alone)
        kept = [place for place in range(BATCH) if place != 3]
        if len(outputs) != BATCH or any(_differ(_json(outputs[place]), alone[place]) for place in kept):
            raise _Broken(
                "an input that the model cannot use changes the answers to others",
                "Answer it with an exception in its place, or raise; keep nothing of it",
            )
        return seen

    def speed(self) -> Speed:
        return Speed(
            load_s=self.load_s,
            memory_bytes=self.memory_bytes,
            one_ms=self._measure_ms(self._batch()[:1]),
            eight_ms=self._measure_ms(self._batch()),
        )

    def _measure_ms(self, batch: list[ModelInput]) -> float:
        took: list[float] = []
        end = time.perf_counter() + MEASURE_S
        while len(took) < 3 or time.perf_counter() < end:
            began = time.perf_counter()
            self.model.infer_batch(batch)
            took.append(time.perf_counter() - began)
        return 1000 * median(took)

    def _answers(self, inputs: Sequence[ModelInput]) -> list[Any]:
        """The answers as JSON values.

        Raises:
            _Broken: it raised, or they are not what the contract says.
        """
        try:
            outputs: Any = self.model.infer_batch(inputs)
        except Exception as error:
            raise _Broken(self._words(error), "Correct `infer_batch`") from error
        if not isinstance(outputs, Sequence) or len(cast("Sequence[Any]", outputs)) != len(inputs):
            count = len(outputs) if hasattr(outputs, "__len__") else type(outputs).__name__
            raise _Broken(
                f"{len(inputs)} inputs, and as answer {count} outputs",
                "Answer with a list: one Output, or exception, for each input",
            )
        return [self._checked(output) for output in cast("Sequence[Any]", outputs)]

    def _checked(self, output: Any) -> Any:
        if isinstance(output, Exception):
            raise _Broken(
                self._words(output), "It is an input the model should be able to answer"
            ) from output
        if not isinstance(output, self.spec.cls.Output):
            raise _Broken(f"an answer is {type(output).__name__}, not Output", "Answer with self.Output(...)")
        try:
            value = _json(output)
        except Exception as error:
            raise _Broken(
                f"an answer cannot be written as JSON: {error}", "Give Output types that JSON knows"
            ) from error
        if not all_finite(output.model_dump()):
            raise _Broken(
                "an answer holds NaN or infinity", "Answer with an exception for an input without a result"
            )
        return value

    def _find_different(self) -> None:
        """Fill `different` and `alone`: up to 8 inputs that the model answers, the example first."""
        deadline = time.monotonic() + SEARCH_S
        seen = {self._text(self._inputs(self.different)[0])}
        for candidates in self._variations():
            for item in candidates:
                if time.monotonic() > deadline:
                    return
                try:
                    [made] = self._inputs([item])
                    if (text := self._text(made)) in seen:
                        continue
                    answer = self._answers([made])[0]
                except (ValidationError, _Broken):
                    continue  # neither its types nor the model need to allow what was made up
                seen.add(text)
                self.different.append(item)
                self.alone.append(answer)
                break

    def _variations(self) -> Iterator[Iterator[tuple[str, str]]]:
        """For each further input what it may be, the best first."""
        given = self.spec.cls.example
        data, own = given["data"], self._inputs(self.different)[0].config.model_dump(mode="json")
        for step in range(1, BATCH):
            configs = [own]
            if step % 2 and (keys := [key for key in own if _vary(own[key], step) != own[key]]):
                key = keys[step // 2 % len(keys)]
                configs.insert(0, {**own, key: _vary(own[key], step)})
            forms = [_resize(_vary(data, step), step), _vary(data, step), _resize(data, step), data]
            yield ((to_json(form), to_json(config)) for config in configs for form in forms)

    def _inputs(self, items: Sequence[tuple[str, str]]) -> list[ModelInput]:
        """What the model would get: made anew for each call, as it might change them."""
        return [
            ModelInput(
                data=self.spec.input.validate_json(data, strict=True),
                config=self.spec.cls.Config.model_validate_json(config),
            )
            for data, config in items
        ]

    def _batch(self) -> list[ModelInput]:
        return self._inputs(self._eight(self.different))

    def _text(self, item: ModelInput) -> str:
        return f"{self.spec.input.dump_json(item.data)} {item.config.model_dump_json()}"

    def _eight(self, items: Sequence[Any]) -> list[Any]:
        return list(islice(cycle(items), BATCH))

    def _words(self, error: Exception) -> str:
        """What was raised and where in the model's file."""
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).resolve() == Path(self.spec.file).resolve()
        ]
        place = f" ({Path(self.spec.file).name}:{lines[-1]})" if lines else ""
        return f"{type(error).__name__}: {str(error)[:200]}{place}"


def _vary(value: Any, step: int) -> Any:
    """Other numbers in the same places."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value + step
    if isinstance(value, float):
        return value * (1 + step / 10)
    if isinstance(value, list):
        return [_vary(entry, step) for entry in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _vary(entry, step) for key, entry in cast("dict[str, Any]", value).items()}
    return value


def _resize(value: Any, step: int) -> Any:
    """Lists and texts of other lengths."""
    if isinstance(value, dict):
        return {key: _resize(entry, step) for key, entry in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        value = [_resize(entry, step) for entry in cast("list[Any]", value)]
    elif not isinstance(value, str):
        return value
    # Longer by a part of itself, or shorter by as much.
    return value + value[:step] if step % 2 else value[: len(value) - step // 2]


def _json(output: Any) -> Any:
    return orjson.loads(output.model_dump_json()) if isinstance(output, BaseModel) else output


def _differ(one: Any, other: Any) -> bool:
    return bool(_first_difference(one, other))


def _first_difference(one: Any, other: Any) -> str:
    """Where two answers differ by more than the tolerance; empty if nowhere."""
    allowed = TOLERANCE * max((abs(number) for number in (*_numbers(one), *_numbers(other))), default=0)
    return next(_differences(one, other, allowed, ""), "")


def _differences(one: Any, other: Any, allowed: float, path: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict) and set(one) == set(other):
        for key, entry in cast("dict[str, Any]", one).items():
            yield from _differences(entry, other[key], allowed, f"{path}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, pair in enumerate(zip(cast("list[Any]", one), cast("list[Any]", other), strict=True)):
            yield from _differences(*pair, allowed, f"{path}/{place}")
    elif _is_number(one) and _is_number(other):
        if not abs(one - other) <= allowed:
            yield f"{path}: {one:g} and {other:g}"
    elif one != other:
        yield f"{path}: {str(one)[:40]} and {str(other)[:40]}"


def _numbers(value: Any) -> Iterator[float]:
    if _is_number(value):
        yield value
    elif isinstance(value, dict | list):
        entries = cast("dict[str, Any]", value).values() if isinstance(value, dict) else value
        for entry in cast("Sequence[Any]", entries):
            yield from _numbers(entry)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _memory_bytes() -> int:
    torch = sys.modules.get("torch")
    on_gpu = torch.cuda.memory_allocated() if torch is not None and torch.cuda.is_initialized() else 0
    return psutil.Process().memory_info().rss + on_gpu
