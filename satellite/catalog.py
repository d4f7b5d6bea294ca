"""The models an ingress knows: finds one by name and validates requests against its schema."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from satellite.config import ModelConfig
from satellite.errors import InvalidRequest, ModelNotFound
from satellite.model import ModelSpec

# A request with 4,096 wrong points has one problem, not 4,096.
MAX_ERRORS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidRequest:
    """A request that has passed its model's schema, as JSON."""

    data: str
    config: str  # defaults filled in
    size_bytes: int  # of both


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One model: its registration and its settings."""

    spec: ModelSpec
    config: ModelConfig

    def validate(self, data: Any, config: dict[str, Any]) -> ValidRequest:
        """Check `data` and `config` (JSON values) against the model's `Input` and `Config`.

        Raises:
            InvalidRequest: with a pointer to each place that does not fit.
        """
        # JSON mode, strictly: "1.5" is not a number and true is not 1, but an enum may come as its text.
        data_json = _dump(data, "data")
        problems: list[dict[str, str]] = []
        try:
            self.spec.input.validate_json(data_json, strict=True)
        except ValidationError as error:
            problems += self._problems(error, "data")
        config_json = "{}"
        try:
            config_json = self.spec.cls.Config.model_validate_json(
                _dump(config, "config"), strict=True
            ).model_dump_json()
        except ValidationError as error:
            problems += self._problems(error, "config")
        if problems:
            first = problems[0]
            raise InvalidRequest(
                f"{first['pointer']}: {first['detail']}. "
                f"GET /api/v1/models/{self.spec.name} shows the schema and an example.",
                errors=problems,
            )
        size_bytes = len(data_json) + len(config_json)
        return ValidRequest(data=data_json.decode(), config=config_json, size_bytes=size_bytes)

    def _problems(self, error: ValidationError, root: str) -> list[dict[str, str]]:
        found = error.errors(include_url=False, include_input=False)
        problems = [
            {"pointer": "/".join(["", root, *map(str, e["loc"])]), "detail": self._describe(e, root)}
            for e in found[:MAX_ERRORS]
        ]
        if len(found) > MAX_ERRORS:
            problems.append({"pointer": f"/{root}", "detail": f"and {len(found) - MAX_ERRORS} more"})
        return problems

    def _describe(self, error: ErrorDetails, root: str) -> str:
        if error["type"] == "extra_forbidden" and root == "config":
            known = sorted(self.spec.cls.Config.model_fields)
            near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
            return f"unknown config key; {hint}"
        return error["msg"]


class Catalog(Mapping[str, CatalogEntry]):
    """All models by name."""

    def __init__(self, entries: dict[str, CatalogEntry]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> CatalogEntry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str) -> CatalogEntry:
        """The model of this name.

        Raises:
            ModelNotFound: there is none; the message names the nearest.
        """
        entry = self._entries.get(name)
        if entry is None:
            near = difflib.get_close_matches(name, self._entries, n=1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(self._entries)}"
            raise ModelNotFound(f"there is no model '{name[:80]}'; {hint}")
        return entry


def _dump(value: Any, root: str) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(
            f"/{root}: {error}", errors=[{"pointer": f"/{root}", "detail": str(error)}]
        ) from None
