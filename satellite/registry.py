"""Finds the models in a folder: every `*.py` file there must register exactly one."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path

from satellite.errors import ModelDefinitionError
from satellite.model import ModelSpec, registered


def load_models(folder: Path) -> dict[str, ModelSpec]:
    """Import every model file in a folder. Files that start with `_` are helpers and are left alone.

    Returns:
        The models by name, sorted.

    Raises:
        ModelDefinitionError: a file does not import, registers no model or more than one, or a name is
            taken; the message starts with file and line.
    """
    if not folder.is_dir():
        raise ModelDefinitionError(f"{folder} is not a folder of model files")
    specs = [load_model(file) for file in sorted(folder.glob("*.py")) if not file.name.startswith("_")]
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}


def load_model(file: Path) -> ModelSpec:
    """Import one model file and return the model it registers.

    Raises:
        ModelDefinitionError: as `load_models`.
    """
    file = file.resolve()
    found = [spec for spec in registered().values() if Path(spec.file).resolve() == file]
    if not found:
        _import(file)
        found = [spec for spec in registered().values() if Path(spec.file).resolve() == file]
    if not found:
        raise ModelDefinitionError(
            f"{file}:1: registers no model; add @register_model, or start the name with '_' for a helper"
        )
    if len(found) > 1:
        names = ", ".join(spec.name for spec in found)
        raise ModelDefinitionError(f"{found[1].place}: one model per file, but this one registers {names}")
    return found[0]


def _import(file: Path) -> None:
    name = f"{file.parent.name}.{file.stem}"
    try:
        package = importlib.util.find_spec(file.parent.name)
        locations = package.submodule_search_locations if package else None
        if locations and file.parent in [Path(place).resolve() for place in locations]:
            # Imported under its package name, a class pickles by reference and helpers import normally.
            importlib.import_module(name)
            return
        spec = importlib.util.spec_from_file_location(f"satellite_model_{file.stem}", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except ModelDefinitionError:
        raise
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == file]
        line = frames[-1].lineno if frames else getattr(error, "lineno", None) or 1
        raise ModelDefinitionError(f"{file}:{line}: {type(error).__name__}: {error}") from error
