"""Runs one batch through a model and turns whatever happens into one outcome per input."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ValidationError

from satellite.batching import Outcome
from satellite.errors import InferenceError, InvalidInput, InvalidOutput, ModelFailed, TransientFailure
from satellite.model import Model, ModelInput, ModelSpec

if TYPE_CHECKING:
    from satellite.artifacts import Artifact

logger = logging.getLogger(__name__)


class BatchRunner:
    """A loaded model behind the rule "one outcome per input, whatever the model does"."""

    def __init__(self, spec: ModelSpec, device: str, artifact: Artifact | None = None) -> None:
        """Load the model on `device`; `artifact` is for one that takes it.

        Raises:
            Exception: whatever `load` raised.
        """
        self.spec = spec
        self.version = artifact.version if artifact else spec.version
        self._model: Model = spec.cls()
        self._model.load(device, *([artifact] if artifact else []))

    def warm_up(self) -> None:
        """Answer the model's own example: one that cannot must not serve.

        Raises:
            Exception: why it cannot.
        """
        example = self.spec.cls.example
        (outcome,) = self.run([(to_json(example["data"]), to_json(example.get("config", {})))])
        if outcome.error is not None:
            raise outcome.error

    def close(self) -> None:
        """Let go of what the model holds, if it has a way to."""
        close = getattr(self._model, "close", None)
        if callable(close):
            close()
        del self._model

    def run(self, items: Sequence[tuple[str, str]]) -> list[Outcome]:
        """Compute one batch.

        Args:
            items: `data` and `config` of each request, as JSON.

        Returns:
            One outcome per item, in order. Never raises for anything the model or its inputs do.
        """
        inputs: list[ModelInput] = []
        outcomes: list[Outcome | None] = []
        for data, config in items:
            try:
                inputs.append(
                    ModelInput(
                        data=self.spec.input.validate_json(data, strict=True),
                        config=self.spec.cls.Config.model_validate_json(config),
                    )
                )
                outcomes.append(None)
            except ValidationError as error:
                outcomes.append(Outcome(error=InvalidInput(str(error))))
        answers = iter(self._bisect(inputs))
        return [next(answers) if outcome is None else outcome for outcome in outcomes]

    def _bisect(self, inputs: Sequence[ModelInput]) -> list[Outcome]:
        """Run the inputs together; if that raises, run each half, until only the culprit fails."""
        if not inputs:
            return []
        try:
            outputs = self._model.infer_batch(inputs)
            if len(outputs) != len(inputs):
                raise InvalidOutput(f"the model answered {len(inputs)} inputs with {len(outputs)} outputs")
        except Exception as error:
            if len(inputs) == 1:
                return [Outcome(error=self._as_inference_error(error))]
            middle = len(inputs) // 2
            return self._bisect(inputs[:middle]) + self._bisect(inputs[middle:])
        return [self._outcome(output) for output in outputs]

    def _outcome(self, output: BaseModel | Exception) -> Outcome:
        if isinstance(output, Exception):
            return Outcome(error=self._as_inference_error(output))
        if not isinstance(output, self.spec.cls.Output):
            return Outcome(
                error=InvalidOutput(f"the model answered with {type(output).__name__}, not its Output")
            )
        # ser_json_inf_nan defaults to "null": a value that is not finite would vanish silently.
        try:
            text = output.model_dump_json().encode()
        except Exception as error:
            return Outcome(error=InvalidOutput(f"the model's answer cannot be written as JSON: {error}"))
        if b"null" in text and not _all_finite(output.model_dump()):
            return Outcome(error=InvalidOutput("the model's answer holds NaN or infinity"))
        return Outcome(output=text)

    def _as_inference_error(self, error: Exception) -> InferenceError:
        if isinstance(error, InferenceError):
            return error
        if isinstance(error, self.spec.retryable):
            return TransientFailure(f"{self.spec.name} raised {type(error).__name__}: {error}")
        logger.error(
            "The model raised an error.",
            exc_info=error,
            extra={"action": "model_failed", "model": self.spec.name},
        )
        return ModelFailed(f"{self.spec.name} raised {type(error).__name__}; see the replica's log")


def to_json(value: Any) -> str:
    """A value of a model's `example` as it would arrive."""
    return orjson.dumps(value).decode()


def _all_finite(value: Any) -> bool:
    if isinstance(value, float):
        return value - value == 0.0
    if isinstance(value, dict):
        return all(_all_finite(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return all(_all_finite(v) for v in value)
    return True
