"""Where a model computes, and in which type: what `load` is given.

A `Device` is the text "cpu" or "cuda", as torch takes it, and knows the rest::

    def load(self, device: str) -> None:
        self._device = Device.of(device)
        self._net = Net().to(device).eval()

    def infer_batch(self, inputs):
        batch = self._device.put(torch.tensor(...))
        with torch.inference_mode(), self._device.autocast():
            answers = self._net(batch).cpu()

On a CPU, in float32, none of it does anything. Torch is looked at only if the model has imported it, which
costs 300 MB.
"""

from __future__ import annotations

import gc
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from satellite.errors import EnvironmentProblem

DType = Literal["float32", "bfloat16", "float16"]
# How libraries on top of CUDA say it in a RuntimeError; torch says the last of a CPU.
OUT_OF_MEMORY = ("out of memory", "alloc_failed", "can't allocate memory")


class Device(str):
    """The text "cpu" or "cuda", with what a model needs to compute there.

    Attributes:
        dtype: what `autocast` lets a network compute in; the model's config says it.
    """

    __slots__ = ("dtype",)
    dtype: DType

    def __new__(cls, name: str, dtype: DType = "float32") -> Device:
        """A device by its name, "cpu" or "cuda"."""
        device = super().__new__(cls, name)
        device.dtype = dtype
        return device

    @classmethod
    def of(cls, device: str) -> Device:
        """The device as it is, or one in float32 where only its name is known."""
        return device if isinstance(device, Device) else cls(device)

    def autocast(self) -> AbstractContextManager[Any]:
        """While it is open, matrix products are computed in `dtype`; weights and inputs stay as they are."""
        if self.dtype == "float32":
            return nullcontext()
        import torch

        return torch.autocast(self, dtype=getattr(torch, self.dtype))

    def put(self, tensor: Any) -> Any:
        """A tensor on this device.

        To a GPU it goes through pinned memory, so that Python need not wait for the copy. It is queued on the
        one stream of the thread that computes: a replica computes one batch at a time, which needs its copy
        first, so there is nothing that a second stream could run beside it.
        """
        return tensor if self == "cpu" else tensor.pin_memory().to(self, non_blocking=True)


def limit_torch_threads(count: int) -> None:
    """Threads in which torch shares out one product on a CPU."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def explain_load_failure(device: Device) -> EnvironmentProblem | None:
    """Why a model did not load, if it is that torch cannot use the GPU which the replica was given."""
    torch = sys.modules.get("torch")
    if device == "cpu" or torch is None or torch.cuda.is_available():
        return None
    return EnvironmentProblem(
        "Ray gave this replica a GPU, but torch sees none: install the NVIDIA driver and a torch built for "
        "CUDA on this machine, or set SATELLITE_PROFILE=cpu (for one model: num_gpus: 0 in its config)."
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this was raised because memory ran out, of the machine or of its GPU."""
    if isinstance(error, MemoryError):
        return True
    # torch.cuda.OutOfMemoryError is a RuntimeError; what cuBLAS and cuDNN run into is nothing but that.
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


def free_memory() -> None:
    """Give back what Python and torch hold without using it."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
