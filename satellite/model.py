"""The contract of a model, and the decorator that registers one.

A model is a plain class. Nothing has to be inherited; `register_model` checks the shape when the class is
declared, and a class that does not fit fails there, with its file and line::

    from pydantic import BaseModel, Field
    from satellite.model import ModelInput, register_model
    from satellite.series import Series

    @register_model("last_value")
    class LastValue:
        \"\"\"Repeats the last observation.\"\"\"

        version = "1.0.0"
        Input = Series

        class Config(BaseModel, extra="forbid"):
            forecast_steps: int = Field(5, ge=1, le=512)

        class Output(BaseModel):
            forecast: list[float]

        example = {"data": [1.0, 2.0, 3.0, 4.0], "config": {"forecast_steps": 2}}

        def load(self, device: str) -> None: ...

        def infer_batch(self, inputs):
            return [self.Output(forecast=[i.data[-1]] * i.config.forecast_steps) for i in inputs]

A model whose weights lie in artifact folders (`satellite/artifacts.py`) takes one of them:
`load(self, device, artifact)`. It has as many versions as there are folders, and each loaded one is an
instance of its own; `version` is the one that answers unless told otherwise. A model without has exactly the
version that it declares. A `close(self)`, if there is one, is called when a version is put away.

An exception that `infer_batch` raises (or answers with, for one input) ends that job `failed`. A class may
set `retryable = (ConnectionError,)`: after one of these another attempt is made, up to `max_attempts`.

`models/moving_average.py` is the smallest one in use.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from satellite.errors import ModelDefinitionError
from satellite.tensors import NumericInput

MAX_NAME_LENGTH = 63
# The deployment in front of the models; each model's deployment has the model's name.
INGRESS = "Ingress"
KAFKA = "KafkaConsumer"
WEBHOOKS = "Webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInput:
    """One validated request as `infer_batch` sees it.

    Attributes:
        data: an instance of the model's `Input`.
        config: an instance of the model's `Config`, defaults filled in.
    """

    data: Any
    config: Any


class Model(Protocol):
    """What a registered class has. Heavy imports (torch) belong inside `load`."""

    version: ClassVar[str]
    Input: ClassVar[Any]
    Config: ClassVar[type[BaseModel]]
    Output: ClassVar[type[BaseModel]]
    example: ClassVar[dict[str, Any]]

    # load(self, device: str) or load(self, device: str, artifact: Artifact): reads the weights and puts them
    # on `device` ("cpu" or "cuda"). Called once per instance.
    load: Callable[..., None]

    def infer_batch(self, inputs: Sequence[ModelInput]) -> Sequence[BaseModel | Exception]:
        """Answer each input in its place: an `Output`, or an exception as a value for that input alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A registered model: its class, where it was declared, and its compiled validators."""

    name: str
    cls: type[Model]
    file: str
    line: int
    input: TypeAdapter[Any]
    takes_artifact: bool = False
    numeric: NumericInput | None = field(init=False)  # set if `input` is an array of numbers and nothing more

    def __post_init__(self) -> None:
        object.__setattr__(self, "numeric", NumericInput.of(self.input))

    @property
    def artifacts(self) -> Path:
        """Where its versions lie unless its config says otherwise: beside its file."""
        return Path(self.file).parent / "artifacts" / self.name

    @property
    def retryable(self) -> tuple[type[Exception], ...]:
        """The exceptions after which another attempt may succeed; the class may leave it out."""
        return getattr(self.cls, "retryable", ())

    @property
    def version(self) -> str:
        """The version the class declares."""
        return self.cls.version

    @property
    def description(self) -> str:
        """The class's docstring, unindented."""
        return inspect.getdoc(self.cls) or ""

    @property
    def place(self) -> str:
        """Where the class was declared, as `file:line`."""
        return f"{self.file}:{self.line}"


_M = TypeVar("_M", bound=type)
_registered: dict[str, ModelSpec] = {}


def registered() -> dict[str, ModelSpec]:
    """All models registered in this process, by name."""
    return dict(_registered)


def forget(name: str) -> None:
    """Remove a registration, so that its file can be loaded again."""
    _registered.pop(name, None)


def register_model(name: str) -> Callable[[_M], _M]:
    """Register the decorated class as the model `name`.

    Args:
        name: what callers put in `model_name`: a letter, then letters, digits, `_` or `-`; 63 at most.

    Raises:
        ModelDefinitionError: the name is taken or malformed, or the class does not fit the contract; the
            message starts with the file and line of the class.
    """

    def decorate(cls: _M) -> _M:
        file = inspect.getsourcefile(cls) or "<unknown>"
        try:
            line = inspect.getsourcelines(cls)[1]
        except OSError:
            line = 0
        spec = _check(name, cls, file, line)
        taken = _registered.get(name)
        if taken is not None:
            raise ModelDefinitionError(f"{spec.place}: the model name '{name}' is taken by {taken.place}")
        _registered[name] = spec
        return cls

    return decorate


def name_problem(name: str) -> str:
    """What is wrong with a model's name; empty if nothing is."""
    if not (name.replace("_", "a").replace("-", "a").isalnum() and name.isascii() and name[0].isalpha()):
        return f"model name {name!r}: a letter, then letters, digits, '_' or '-'"
    if len(name) > MAX_NAME_LENGTH:
        return f"model name {name!r} is longer than {MAX_NAME_LENGTH} characters"
    own = name in (INGRESS, KAFKA, WEBHOOKS)
    return f"'{name}' is the name of a deployment of Satellite's own" if own else ""


def _check(name: str, cls: type, file: str, line: int) -> ModelSpec:
    def fail(problem: str) -> ModelDefinitionError:
        return ModelDefinitionError(f"{file}:{line}: {problem}")

    if problem := name_problem(name):
        raise fail(problem)
    forms = {"load": ("self, device", "self, device, artifact"), "infer_batch": ("self, inputs",)}
    for method, allowed in forms.items():
        function = getattr(cls, method, None)
        if not callable(function):
            raise fail(f"class {cls.__name__} has no method {method}({allowed[0]})")
        if len(inspect.signature(function).parameters) not in [form.count(",") + 1 for form in allowed]:
            raise fail(f"{cls.__name__}.{method} must take exactly ({') or ('.join(allowed)})")
    for attribute in ("Input", "Config", "Output", "example"):
        if not hasattr(cls, attribute):
            raise fail(f"class {cls.__name__} has no {attribute}")
    if not isinstance(getattr(cls, "version", None), str):
        raise fail(f'class {cls.__name__} has no version, such as version = "1.0.0"')
    for attribute in ("Config", "Output"):
        value = getattr(cls, attribute)
        if not (inspect.isclass(value) and issubclass(value, BaseModel)):
            raise fail(f"{cls.__name__}.{attribute} must be a Pydantic model")
    model = cast("type[Model]", cls)
    if model.Config.model_config.get("extra") != "forbid":
        raise fail(f'{cls.__name__}.Config must forbid unknown keys: class Config(BaseModel, extra="forbid")')
    retryable: Any = getattr(cls, "retryable", ())
    if not (
        isinstance(retryable, tuple)
        and all(inspect.isclass(e) and issubclass(e, Exception) for e in cast("tuple[Any, ...]", retryable))
    ):
        raise fail(f"{cls.__name__}.retryable must be a tuple of exceptions, such as (ConnectionError,)")
    adapter: TypeAdapter[Any] = TypeAdapter(model.Input)
    example: Any = model.example
    if not (isinstance(example, dict) and set(example) <= {"data", "config"} and "data" in example):
        raise fail(f'{cls.__name__}.example must be {{"data": ..., "config": {{...}}}}')
    try:
        adapter.validate_python(example["data"], strict=True)
        model.Config.model_validate(example.get("config", {}), strict=True)
    except ValidationError as error:
        raise fail(f"{cls.__name__}.example does not fit its own Input and Config: {error}") from None
    takes_artifact = len(inspect.signature(model.load).parameters) == 3
    return ModelSpec(name=name, cls=model, file=file, line=line, input=adapter, takes_artifact=takes_artifact)
