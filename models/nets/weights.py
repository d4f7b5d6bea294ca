"""Weights on disk: one safetensors file, and the manifest that vouches for it (`satellite/artifacts.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from satellite.artifacts import SAFETENSORS, write_manifest

WEIGHTS = "model.safetensors"


def write_weights(folder: Path, state: dict[str, Tensor], *, version: str, **about: Any) -> None:
    """Write the weights and their manifest into `folder`, over what is there.

    Args:
        folder: made if it is missing.
        state: the network's state dictionary.
        version: of the weights.
        about: further entries of the manifest: `metrics`, and what the model needs to read them: `hyper`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / WEIGHTS)
    write_manifest(folder, version, SAFETENSORS, **about)
