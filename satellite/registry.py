"""Finds the models in folders: every `*.py` file there must register exactly one."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from satellite.errors import ModelDefinitionError
from satellite.model import ModelSpec, registered


def load_models(*folders: Path) -> dict[str, ModelSpec]:
    """Import every model file in the folders. Files that start with `_` are helpers and are left alone.

    Returns:
        The models by name, sorted.

    Raises:
        ModelDefinitionError: a file does not import, registers no model or more than one, or a name is
            taken; the message starts with file and line.
    """
    specs = [load_model(file) for folder in folders for file in model_files(folder)]
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: spec.name)}


def model_files(folder: Path) -> list[Path]:
    """The files in a folder that must register a model each.

    Raises:
        ModelDefinitionError: it is not a folder.
    """
    if not folder.is_dir():
        raise ModelDefinitionError(f"{folder} is not a folder of model files; see SATELLITE_MODELS_PATH")
    return [file for file in sorted(folder.glob("*.py")) if not file.name.startswith("_")]


def code_digest(*folders: Path) -> str:
    """Changes when a Python file of these folders, or of a package in them, changes, comes or goes."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in _code(folder):
            content = file.read_bytes()
            digest.update(f"{file}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def _code(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.suffix == ".py":
            yield entry
        elif (entry / "__init__.py").is_file():
            yield from _code(entry)


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
    name = file.parent.name
    importlib.invalidate_caches()  # the file may be newer than Python's last look at its folder
    try:
        package = importlib.util.find_spec(name) if name.isidentifier() else None
        locations = package.submodule_search_locations if package else None
        if locations and file.parent in [Path(place).resolve() for place in locations]:
            # Imported under its package name, a class pickles by reference and helpers import normally.
            importlib.import_module(f"{name}.{file.stem}")
        else:
            _import_from_outside(file)
    except ModelDefinitionError:
        raise
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve() == file]
        line = frames[-1].lineno if frames else getattr(error, "lineno", None) or 1
        raise ModelDefinitionError(f"{file}:{line}: {type(error).__name__}: {error}") from error


def _import_from_outside(file: Path) -> None:
    """Import a file whose folder is no package on Python's path, as a module of a package made up for it.

    Two such folders may hold files of the same name, and a model may say `from ._helper import ...`.
    """
    package = f"satellite_models_{hashlib.sha256(str(file.parent).encode()).hexdigest()[:12]}"
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package, f"The models in {file.parent}.")
        sys.modules[package].__path__ = [str(file.parent)]
    spec = importlib.util.spec_from_file_location(f"{package}.{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
