"""`satellite openapi`: the API's description, from which `frontend/` generates its types."""

from __future__ import annotations

from typing import Any

import orjson

from satellite.api.app import fastapi
from satellite.api.reference import render
from satellite.catalog import Catalog, CatalogEntry
from satellite.config import ModelConfig
from satellite.registry import load_models
from satellite.settings import REPO_ROOT


def document() -> dict[str, Any]:
    """The OpenAPI document with the models that are shipped, whatever the settings say."""
    specs = load_models(REPO_ROOT / "models")
    entries = {name: CatalogEntry(spec=spec, config=ModelConfig()) for name, spec in specs.items()}
    return fastapi(Catalog(entries)).openapi()


def text() -> str:
    """The same, as it is committed."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def show(*, markdown: bool = False) -> None:
    """Print it, or the reference that is made of it."""
    print(render(document()) if markdown else text(), end="")
