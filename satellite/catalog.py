"""The models an ingress knows: finds one by name and validates requests against its schema."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from satellite.batching import Tensor
from satellite.config import ModelConfig
from satellite.errors import InvalidRequest, ModelNotFound
from satellite.model import ModelSpec
from satellite.tensors import pack

D = TypeVar("D", bound=str | Tensor)

# A request with 4,096 wrong points has one problem, not 4,096.
MAX_ERRORS = 10
# To put more into words takes longer than anybody may block the others.
MAX_COUNTED_ERRORS = 1000
MAX_CONFIG_KEYS = 1000
MAX_NAME = 80  # characters of what a caller wrote that an answer repeats, and that are compared with names


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidRequest(Generic[D]):
    """A request that has passed its model's schema."""

    data: D  # as JSON, or as an array of numbers
    config: str  # defaults filled in
    size_bytes: int  # of both


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One model: its registration and its settings."""

    spec: ModelSpec
    config: ModelConfig

    def validate(self, data: Any, config: dict[str, Any]) -> ValidRequest[str]:
        """Check `data` and `config` (JSON values) against the model's `Input` and `Config`.

        Raises:
            InvalidRequest: with a pointer to each place that does not fit.
        """
        return self._validate(data, config, self._as_json)

    def validate_unstored(self, data: Any, config: dict[str, Any]) -> ValidRequest[str | Tensor]:
        """The same for a request that nobody will keep: its input need not be JSON.

        Args:
            data: the input, as JSON values or as an array of numbers.
            config: the config, as JSON values.

        Raises:
            InvalidRequest: with a pointer to each place that does not fit.
        """
        return self._validate(data, config, self._as_tensor)

    def _validate(
        self, data: Any, config: dict[str, Any], check: Callable[[Any], tuple[D, int]]
    ) -> ValidRequest[D]:
        if len(config) > MAX_CONFIG_KEYS:
            detail = f"has {len(config)} keys; at most {MAX_CONFIG_KEYS} are looked at"
            raise InvalidRequest(f"/config: {detail}", errors=[{"pointer": "/config", "detail": detail}])
        problems: list[dict[str, str]] = []
        checked: tuple[D, int] | None = None
        try:
            checked = check(data)
        except ValidationError as error:
            problems += self._problems(error, "data")
        config_json = "{}"
        try:
            config_json = self.spec.cls.Config.model_validate_json(
                _dump(config, "config"), strict=True
            ).model_dump_json()
        except ValidationError as error:
            problems += self._problems(error, "config")
        if checked is None or problems:
            first = problems[0]
            raise InvalidRequest(
                f"{first['pointer']}: {first['detail']}. "
                f"GET /api/v1/models/{self.spec.name} shows the schema and an example.",
                errors=problems,
            )
        return ValidRequest(data=checked[0], config=config_json, size_bytes=checked[1] + len(config_json))

    def _as_json(self, data: Any) -> tuple[str, int]:
        data_json = _dump(data, "data")
        if not self._are_numbers(data):
            # JSON mode, strictly: "1.5" is not a number and true is not 1, but an enum may come as its text.
            self.spec.input.validate_json(data_json, strict=True)
        return data_json.decode(), len(data_json)

    def _as_tensor(self, data: Any) -> tuple[str | Tensor, int]:
        rules = self.spec.numeric
        if isinstance(data, np.ndarray):
            if rules is not None and rules.fits(data) and (tensor := pack(data)):
                return tensor, len(tensor.data)
            data = data.tolist()
        elif self._are_numbers(data) and (tensor := pack(data)):
            return tensor, len(tensor.data)
        return self._as_json(data)

    def _are_numbers(self, data: Any) -> bool:
        """Whether the input is what a numeric one should be. As lists it is checked faster than as JSON."""
        if self.spec.numeric is None:
            return False
        try:
            self.spec.input.validate_python(data, strict=True)
        except ValidationError:
            return False  # why not, JSON mode says in JSON's words
        return True

    def _problems(self, error: ValidationError, root: str) -> list[dict[str, str]]:
        count = error.error_count()
        if count > MAX_COUNTED_ERRORS:
            return [{"pointer": f"/{root}", "detail": f"does not fit in {count} places"}]
        found = error.errors(include_url=False, include_input=False)
        problems = [
            {
                "pointer": "/".join(["", root, *(str(part)[:MAX_NAME] for part in e["loc"])]),
                "detail": self._describe(e, root),
            }
            for e in found[:MAX_ERRORS]
        ]
        if len(found) > MAX_ERRORS:
            problems.append({"pointer": f"/{root}", "detail": f"and {len(found) - MAX_ERRORS} more"})
        return problems

    def _describe(self, error: ErrorDetails, root: str) -> str:
        if error["type"] == "extra_forbidden" and root == "config":
            known = sorted(self.spec.cls.Config.model_fields)
            near = difflib.get_close_matches(str(error["loc"][-1])[:MAX_NAME], known, n=1)
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
            near = difflib.get_close_matches(name[:MAX_NAME], self._entries, n=1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(self._entries)}"
            raise ModelNotFound(f"there is no model '{name[:MAX_NAME]}'; {hint}")
        return entry


def _dump(value: Any, root: str) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(
            f"/{root}: {error}", errors=[{"pointer": f"/{root}", "detail": str(error)}]
        ) from None
