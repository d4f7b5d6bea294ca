"""Weights on disk: one safetensors file and a manifest that says what it is and what its checksum must be."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from satellite.errors import ModelDefinitionError

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
FORMAT = "safetensors"


def write_weights(folder: Path, state: dict[str, Tensor], *, version: str, **about: Any) -> None:
    """Write the weights and their manifest into `folder`, over what is there.

    Args:
        folder: made if it is missing.
        state: the network's state dictionary.
        version: of the weights.
        about: further entries of the manifest: `hyper`, `training`, `metrics`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    manifest = {
        "version": version,
        "format": FORMAT,
        "file": WEIGHTS,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "created": datetime.now(UTC).date().isoformat(),
        **about,
    }
    (folder / WEIGHTS).write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def read_weights(folder: Path, device: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a manifest and the weights it vouches for.

    Returns:
        The manifest, and the state dictionary on `device`.

    Raises:
        ModelDefinitionError: a file is missing, the manifest is not one, or the weights are not those it
            names; the message starts with the file.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        expected, kind = manifest["sha256"], manifest["format"]
    except FileNotFoundError:
        raise ModelDefinitionError(
            f"{path}: there is no manifest; train the model or restore the file"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelDefinitionError(f"{path}: not a manifest of weights: {error!r}") from error
    if kind != FORMAT:
        raise ModelDefinitionError(f"{path}: the weights are {kind!r}, and only {FORMAT!r} can be read")
    path = folder / WEIGHTS
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelDefinitionError(
            f"{path}: there are no weights; train the model or restore the file"
        ) from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise ModelDefinitionError(
            f"{path}: the checksum does not match the manifest: sha256 {actual}, expected {expected}; "
            "the file is damaged or belongs to another version"
        )
    return manifest, {name: tensor.to(torch.device(device)) for name, tensor in load(content).items()}
