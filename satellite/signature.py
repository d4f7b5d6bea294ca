"""A model's input and output as tensors: their names, datatypes and shapes, read from its JSON schemas.

An object gives one tensor for each of its fields, nested ones with a dotted name (`quantiles.0.1`); an input
that is no object gives one, `data`. Numbers, booleans, texts and lists of them, nested or not, are tensors
of their own datatype; everything else is a BYTES tensor of JSON texts. The first dimension of every tensor
counts rows, and each row is a request of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from satellite.errors import InvalidRequest
from satellite.model import ModelSpec

Array = NDArray[Any]
Schema = dict[str, Any]

_DATATYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "string": "BYTES"}
_WHOLE = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
# What may be sent where the schema asks for this.
_ACCEPTED = {
    "FP64": _WHOLE | {"FP16", "FP32", "FP64"},
    "INT64": _WHOLE,
    "BOOL": frozenset({"BOOL"}),
    "BYTES": frozenset({"BYTES"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One tensor of a model.

    Attributes:
        name: as callers spell it.
        path: the keys that lead to it in the JSON of one row.
        datatype: FP64, INT64, BOOL or BYTES.
        rank: how many dimensions one row has.
        holds: its values themselves, or JSON texts of them.
        required: whether an input must be given.
        entry: for a dictionary whose keys are not known before: what each of its values is.
    """

    name: str
    path: tuple[str, ...]
    datatype: str
    rank: int
    holds: Literal["values", "json"]
    required: bool = True
    entry: TensorSpec | None = None

    @property
    def shape(self) -> list[int]:
        """With the rows; -1 for every length."""
        return [-1] * (self.rank + 1)

    def __str__(self) -> str:
        return f"'{self.name}' ({self.datatype}, shape {self.shape})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The tensors of a model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def rows(self, tensors: Mapping[str, tuple[str, Array]]) -> list[Any]:
        """The input of each row, as an array of numbers or as JSON values.

        Args:
            tensors: for each name the datatype, and the values; those of BYTES as an array of texts.

        Raises:
            InvalidRequest: a tensor is missing or unknown, or of a datatype or shape that does not fit.
        """
        known = {spec.name: spec for spec in self.inputs}
        for name in tensors:
            if name not in known:
                takes = ", ".join(map(str, self.inputs))
                raise InvalidRequest(f"there is no input '{name[:80]}'; the model takes {takes}")
        given: list[tuple[TensorSpec, Array]] = []
        for spec in self.inputs:
            if spec.name in tensors:
                given.append((spec, _checked(spec, *tensors[spec.name])))
            elif spec.required:
                raise InvalidRequest(f"the input {spec} is missing")
        counts = {spec.name: len(array) for spec, array in given}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"'{name}' {count}" for name, count in counts.items())
            raise InvalidRequest(f"all inputs must have as many rows as each other, not {found}")
        return [_row(given, row) for row in range(next(iter(counts.values()), 0))]

    def select(self, names: Sequence[str] | None) -> list[TensorSpec]:
        """The outputs of these names; all of them if none are named.

        Raises:
            InvalidRequest: there is no such output.
        """
        return list(self.outputs) if names is None else [self._output(name) for name in names]

    def _output(self, name: str) -> TensorSpec:
        for spec in self.outputs:
            if spec.name == name:
                return spec
            if spec.entry is not None and name.startswith(f"{spec.name}."):
                return replace(spec.entry, name=name, path=(*spec.path, name[len(spec.name) + 1 :]))
        gives = ", ".join(map(str, self.outputs))
        raise InvalidRequest(f"there is no output '{name[:80]}'; the model gives {gives}")


@lru_cache(maxsize=1024)
def signature_of(spec: ModelSpec) -> Signature:
    """The tensors of a model."""
    return Signature(
        inputs=tuple(_tensors(spec.input.json_schema(), given=True)),
        outputs=tuple(
            _tensors(spec.cls.Output.model_json_schema(by_alias=False, mode="serialization"), given=False)
        ),
    )


def gather(spec: TensorSpec, results: Sequence[Any]) -> Array:
    """One output of all rows.

    Args:
        spec: which one.
        results: the output of each row, as JSON values.

    Returns:
        An array of the spec's datatype; of BYTES an array of texts.

    Raises:
        InvalidRequest: the rows' values differ in length, or a key that was asked for is not there.
    """
    values = [_at(result, spec) for result in results]
    if spec.holds == "json":
        values = [orjson.dumps(value).decode() for value in values]
    kind = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?", "BYTES": object}[spec.datatype]
    try:
        array = np.array(values, dtype=kind)
    except (ValueError, OverflowError):
        array = None
    if array is not None and array.ndim <= spec.rank and not array.size:
        array = array.reshape(array.shape + (0,) * (spec.rank + 1 - array.ndim))
    if array is None or array.ndim != spec.rank + 1:
        raise InvalidRequest(
            f"the rows of output '{spec.name}' differ in length, so they fit no tensor: ask for other "
            "outputs, or send one row in a request"
        )
    return array


def _tensors(schema: Schema, *, given: bool) -> Iterator[TensorSpec]:
    """The tensors of a whole schema; `given`: of an input."""
    definitions = schema.get("$defs", {})

    def follow(part: Schema) -> Schema:
        while "$ref" in part:
            part = definitions[part["$ref"].rpartition("/")[2]]
        return part

    def walk(
        part: Schema, path: tuple[str, ...], required: bool, above: list[Schema]
    ) -> Iterator[TensorSpec]:
        part = follow(part)
        choices = [choice for choice in part.get("anyOf", []) if choice.get("type") != "null"]
        if given and len(choices) == 1:
            part = follow(choices[0])  # what may be null can be left out; as an output no tensor holds it
        fields = {} if any(part is outer for outer in above) else _fields(part)
        if not fields:
            yield leaf(part, path, required)
        for key, field in fields.items():
            needed = required and (key in part.get("required", ()) or "propertyNames" in part)
            yield from walk(field, (*path, key), needed, [*above, part])

    def leaf(part: Schema, path: tuple[str, ...], required: bool) -> TensorSpec:
        rank, inner = 0, part
        while inner.get("type") == "array" and "items" in inner and "prefixItems" not in inner:
            rank, inner = rank + 1, follow(inner["items"])
        datatype = _DATATYPES.get(cast("str", inner.get("type")))
        spec = TensorSpec(
            name=".".join(path) or "data",
            path=path,
            datatype=datatype or "BYTES",
            rank=rank if datatype else 0,
            holds="values" if datatype else "json",
            required=required,
        )
        values = part.get("additionalProperties")
        entry = leaf(follow(values), path, required) if isinstance(values, dict) else None
        return replace(spec, entry=entry) if entry is not None and entry.holds == "values" else spec

    yield from walk(schema, (), True, [])


def _fields(schema: Schema) -> Mapping[str, Schema]:
    """The fields of an object, or the values of a dictionary whose keys the schema names."""
    if schema.get("type") != "object":
        return {}
    keys, values = schema.get("propertyNames", {}).get("enum"), schema.get("additionalProperties")
    if keys and isinstance(values, dict):
        return dict.fromkeys(keys, cast("Schema", values))
    return cast("dict[str, Schema]", schema.get("properties", {}))


def _checked(spec: TensorSpec, datatype: str, array: Array) -> Array:
    """An input with its rows in the first dimension."""
    if datatype not in _ACCEPTED[spec.datatype]:
        accepted = ", ".join(sorted(_ACCEPTED[spec.datatype]))
        raise InvalidRequest(f"input '{spec.name}' is {datatype}; the model takes {accepted}")
    if array.ndim == spec.rank:
        array = array[np.newaxis]
    if array.ndim != spec.rank + 1:
        raise InvalidRequest(f"input '{spec.name}' has shape {list(array.shape)}; the model takes {spec}")
    if not len(array):
        raise InvalidRequest(f"input '{spec.name}' has no rows")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row, *place = (int(index) for index in np.argwhere(~np.isfinite(array))[0])
        where = f" at {place}" if place else ""
        raise InvalidRequest(f"input '{spec.name}', row {row}: NaN or infinity{where}; send finite numbers")
    return array


def _row(given: Sequence[tuple[TensorSpec, Array]], row: int) -> Any:
    value: Any = {}
    for spec, array in given:
        element: Any = array[row]
        if spec.holds == "json":
            element = _parsed(spec, element, row)
        elif not spec.path and spec.rank and spec.datatype == "FP64":
            return element  # the whole input is this array
        elif isinstance(element, np.ndarray | np.generic):
            element = element.tolist()
        if not spec.path:
            return element
        parent = value
        for key in spec.path[:-1]:
            parent = parent.setdefault(key, {})
        parent[spec.path[-1]] = element
    return value


def _parsed(spec: TensorSpec, text: str, row: int) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"input '{spec.name}', row {row}: its elements are JSON texts: {error}"
        ) from None


def _at(result: Any, spec: TensorSpec) -> Any:
    value = result
    for key in spec.path:
        if key not in value:
            raise InvalidRequest(f"there is no output '{spec.name[:80]}'; there are: {', '.join(value)}")
        value = value[key]
    return value
