"""Runs one batch through a model and turns whatever happens into one outcome per input."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel, ValidationError

from satellite.batching import Outcome, Tensor
from satellite.device import Device, explain_load_failure, free_memory, is_out_of_memory
from satellite.errors import (
    InferenceError,
    InvalidInput,
    InvalidOutput,
    ModelFailed,
    OutOfMemory,
    TransientFailure,
)
from satellite.model import Model, ModelInput, ModelSpec
from satellite.tensors import unpack

if TYPE_CHECKING:
    from satellite.artifacts import Artifact

logger = logging.getLogger(__name__)


# For how long batches stay small after one did not fit: who shares the GPU may have needed it for a moment.
SMALL_BATCHES_S = 60.0


class BatchRunner:
    """A loaded model behind the rule "one outcome per input, whatever the model does"."""

    def __init__(
        self,
        spec: ModelSpec,
        device: str,
        artifact: Artifact | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load the model on `device`; `artifact` is for one that takes it.

        Raises:
            EnvironmentProblem: the model did not load because torch cannot use the GPU.
            Exception: whatever else `load` raised.
        """
        self.spec = spec
        self.version = artifact.version if artifact else spec.version
        self._clock = clock
        self._fits: float = math.inf  # inputs, of a batch that ran out of memory and was halved
        self._fits_until_s = 0.0
        self._model: Model = spec.cls()
        device = Device.of(device)
        try:
            self._model.load(device, *([artifact] if artifact else []))
        except Exception as error:
            if problem := explain_load_failure(device):
                raise problem from error
            raise

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

    def run(self, items: Sequence[tuple[str | Tensor, str]]) -> list[Outcome]:
        """Compute one batch.

        Args:
            items: `data` of each request, as JSON or as a tensor, and its `config`, as JSON.

        Returns:
            One outcome per item, in order. Never raises for anything the model or its inputs do.
        """
        inputs: list[ModelInput] = []
        outcomes: list[Outcome | None] = []
        for data, config in items:
            try:
                inputs.append(
                    ModelInput(
                        data=self._input(data),
                        config=self.spec.cls.Config.model_validate_json(config),
                    )
                )
                outcomes.append(None)
            except ValidationError as error:
                outcomes.append(Outcome(error=InvalidInput(str(error))))
        answers = iter(self.infer(inputs))
        return [next(answers) if outcome is None else outcome for outcome in outcomes]

    def infer(self, inputs: Sequence[ModelInput]) -> list[Outcome]:
        """As `run`, of inputs that are validated; in pieces, while batches of this size do not fit."""
        if self._clock() > self._fits_until_s:
            self._fits = math.inf
        outcomes: list[Outcome] = []
        while len(outcomes) < len(inputs):
            start = len(outcomes)
            outcomes += self._bisect(inputs[start : int(min(start + self._fits, len(inputs)))])
        return outcomes

    def _input(self, data: str | Tensor) -> Any:
        if isinstance(data, str):
            return self.spec.input.validate_json(data, strict=True)
        array = unpack(data)
        numbers = array.tolist()
        if self.spec.numeric is not None and self.spec.numeric.fits(array):
            return numbers
        # The ingress and this replica know the model from different files: a deploy is under way.
        return self.spec.input.validate_python(numbers, strict=True)

    def _bisect(self, inputs: Sequence[ModelInput]) -> list[Outcome]:
        """Run the inputs together; if that raises, run each half, until only the culprit fails."""
        try:
            outputs = self._model.infer_batch(inputs)
            if len(outputs) != len(inputs):
                raise InvalidOutput(f"the model answered {len(inputs)} inputs with {len(outputs)} outputs")
            return [self._outcome(output) for output in outputs]
        except Exception as error:
            ran_out = is_out_of_memory(error)
            if len(inputs) == 1:
                if ran_out:
                    self._fits = math.inf  # the others are not to blame
                return [Outcome(error=self._as_inference_error(error))]
        # Here the error is gone, and with it the frames that held on to what the batch had allocated.
        middle = len(inputs) // 2
        if ran_out:
            self._shrink(middle)
            return self.infer(inputs)
        return self._bisect(inputs[:middle]) + self._bisect(inputs[middle:])

    def _shrink(self, fits: int) -> None:
        free_memory()
        self._fits, self._fits_until_s = fits, self._clock() + SMALL_BATCHES_S
        logger.warning(
            "A batch did not fit into memory and is halved.",
            extra={"action": "batch_halved", "model": self.spec.name, "fits": fits},
        )

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
        if b"null" in text and not all_finite(output.model_dump()):
            return Outcome(error=InvalidOutput("the model's answer holds NaN or infinity"))
        return Outcome(output=text)

    def _as_inference_error(self, error: Exception) -> InferenceError:
        if isinstance(error, InferenceError):
            return error
        if is_out_of_memory(error):
            logger.warning(
                "An input does not fit into memory, even alone.",
                exc_info=error,
                extra={"action": "out_of_memory", "model": self.spec.name},
            )
            return OutOfMemory(
                f"{self.spec.name} ran out of memory on this input alone; send a smaller one, or give the "
                "model's replicas more memory"
            )
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


def all_finite(value: Any) -> bool:
    """Whether no number in a dumped model is NaN or infinity."""
    if isinstance(value, float):
        return value - value == 0.0
    if isinstance(value, dict):
        return all(all_finite(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return all(all_finite(v) for v in value)
    return True
