"""The bodies of the Open Inference Protocol: JSON, and after it the binary data of its tensors, if any.

The header `Inference-Header-Content-Length` says where the JSON ends. A tensor whose parameters have a
`binary_data_size` has no `data`: its elements are the next so many bytes, row by row, little-endian, a text
after its length in four bytes.
Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol and
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from satellite.api.body import parse_fields, parse_json, parse_text
from satellite.errors import InvalidRequest

Array = NDArray[Any]

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 2**31
# A smaller answer is not worth the time that compressing it takes.
MIN_COMPRESSED_BYTES = 1024
_GZIP, _ZLIB = 31, 15  # what zlib calls window bits
_ENCODINGS = {"gzip": _GZIP, "deflate": _ZLIB}
_DTYPES = {
    "BOOL": "?",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
}
_NUMBERS: set[type] = {int, float}


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A parsed request.

    Attributes:
        id: the caller's own name for it, which comes back.
        tensors: for each input its datatype and its values; those of BYTES are texts.
        outputs: for each output that is asked for, whether in binary; None: all of them.
        binary: whether outputs go in binary unless their own entry says otherwise.
        parameters: what else is asked for.
    """

    id: str | None
    tensors: dict[str, tuple[str, Array]]
    outputs: dict[str, bool] | None
    binary: bool
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTensor:
    """One tensor of an answer; the values of BYTES are texts."""

    name: str
    datatype: str
    values: Array
    binary: bool


def compress(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """An answer as the caller's `Accept-Encoding` wants it, and the `Content-Encoding` of that."""
    wanted = {name.strip().lower() for name in accepted.split(",")}  # one with a weight is no plain wish
    for encoding, bits in _ENCODINGS.items():
        if encoding in wanted and len(body) >= MIN_COMPRESSED_BYTES:
            stream = zlib.compressobj(level=1, wbits=bits)
            return stream.compress(body) + stream.flush(), encoding
    return body, None


def parse_infer(body: bytes, header_length: str | None) -> InferRequest:
    """Parse the body of an inference request.

    Args:
        body: all of it.
        header_length: the header `Inference-Header-Content-Length`, if there is one.

    Raises:
        InvalidJSON, InvalidRequest: it is not one; the message says where.
    """
    size = len(body)
    if header_length is not None:
        if not (header_length.isascii() and header_length.isdigit() and int(header_length[:20]) <= size):
            raise InvalidRequest(f"{HEADER_LENGTH} must be a number of bytes, at most the body's {size}")
        size = int(header_length)
    fields = parse_fields(parse_json(body[:size]), _REQUEST, required=("inputs",))
    parameters: dict[str, Any] = fields.get("parameters", {})
    binary = parameters.pop("binary_data_output", False)
    if not isinstance(binary, bool):
        raise InvalidRequest("/parameters/binary_data_output: must be true or false")
    rest, tensors = memoryview(body)[size:], dict[str, tuple[str, Array]]()
    for number, entry in enumerate(fields["inputs"]):
        pointer = f"/inputs/{number}"
        name, datatype, shape, data = _input(entry, pointer)
        if name in tensors:
            raise InvalidRequest(f"{pointer}/name: there is a '{name[:80]}' already")
        if isinstance(data, int):
            raw, rest = rest[:data], rest[data:]
            if len(raw) < data:
                raise InvalidRequest(
                    f"{pointer}: {data} bytes of binary data, and only {len(raw)} in the body"
                )
            tensors[name] = datatype, _from_binary(datatype, shape, raw, pointer)
        else:
            tensors[name] = datatype, _from_json(datatype, shape, data, f"{pointer}/data")
    if rest:
        raise InvalidRequest(f"the body has {len(rest)} bytes more than its tensors' binary_data_size")
    outputs = None if "outputs" not in fields else _outputs(fields["outputs"], binary)
    return InferRequest(
        id=fields.get("id"), tensors=tensors, outputs=outputs or None, binary=binary, parameters=parameters
    )


def write_infer(head: dict[str, Any], outputs: Sequence[OutputTensor]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON if binary data follows."""
    tensors: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for output in outputs:
        tensor: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.values.shape),
        }
        if output.binary:
            raw = _to_binary(output)
            tensor["parameters"] = {"binary_data_size": len(raw)}
            binary.append(raw)
        else:
            tensor["data"] = output.values.ravel().tolist()
        tensors.append(tensor)
    header = orjson.dumps({**head, "outputs": tensors})
    return b"".join([header, *binary]), len(header) if binary else None


def _object(value: Any, pointer: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{pointer}: must be an object")
    return cast("dict[str, Any]", value)


def _list(value: Any, pointer: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidRequest(f"{pointer}: must be a list")
    return cast("list[Any]", value)


def _shape(value: Any, pointer: str) -> tuple[int, ...]:
    lengths = _list(value, pointer)
    # type(): true is an int for isinstance().
    if len(lengths) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in lengths):
        raise InvalidRequest(f"{pointer}: must be a list of at most {MAX_DIMENSIONS} lengths, each 0 or more")
    if math.prod(n or 1 for n in lengths) > MAX_ELEMENTS:
        raise InvalidRequest(f"{pointer}: more than {MAX_ELEMENTS} elements")
    return tuple(lengths)


def _datatype(value: Any, pointer: str) -> str:
    if value not in _DTYPES and value != "BYTES":
        raise InvalidRequest(f"{pointer}: must be one of {', '.join(_DTYPES)}, BYTES")
    return value


_Checks = dict[str, Callable[[Any, str], Any]]
_TENSOR: _Checks = {
    "name": parse_text,
    "shape": _shape,
    "datatype": lambda value, pointer: _datatype(parse_text(value, pointer), pointer),
    "data": _list,
    "parameters": _object,
}
_OUTPUT: _Checks = {"name": parse_text, "parameters": _object}
_REQUEST: _Checks = {"id": parse_text, "inputs": _list, "outputs": _list, "parameters": _object}


def _input(entry: Any, pointer: str) -> tuple[str, str, tuple[int, ...], list[Any] | int]:
    """The name, datatype and shape of an input, with its data or the size of its binary data."""
    fields = _entry(entry, _TENSOR, pointer, required=("name", "shape", "datatype"))
    size = _parameters(fields, ("binary_data_size",), pointer).get("binary_data_size")
    if (size is None) == ("data" not in fields):
        raise InvalidRequest(f"{pointer}: give either data or the parameter binary_data_size")
    if size is None:
        return fields["name"], fields["datatype"], fields["shape"], fields["data"]
    if type(size) is not int or size < 0:
        raise InvalidRequest(f"{pointer}/parameters/binary_data_size: must be a number of bytes")
    return fields["name"], fields["datatype"], fields["shape"], size


def _outputs(entries: list[Any], binary: bool) -> dict[str, bool]:
    outputs: dict[str, bool] = {}
    for number, entry in enumerate(entries):
        pointer = f"/outputs/{number}"
        fields = _entry(entry, _OUTPUT, pointer, required=("name",))
        wish = _parameters(fields, ("binary_data",), pointer).get("binary_data", binary)
        if not isinstance(wish, bool):
            raise InvalidRequest(f"{pointer}/parameters/binary_data: must be true or false")
        outputs[fields["name"]] = wish
    return outputs


def _entry(entry: Any, checks: _Checks, pointer: str, *, required: tuple[str, ...]) -> dict[str, Any]:
    try:
        return parse_fields(entry, checks, required=required)
    except InvalidRequest as error:
        raise InvalidRequest(f"{pointer}{error.detail.removeprefix('the body')}") from None


def _parameters(fields: dict[str, Any], known: tuple[str, ...], pointer: str) -> dict[str, Any]:
    parameters: dict[str, Any] = fields.get("parameters", {})
    for name in parameters:
        if name not in known:
            hint = "shared memory is not offered" if name.startswith("shared_memory") else "unknown parameter"
            raise InvalidRequest(f"{pointer}/parameters/{name[:80]}: {hint}; known: {', '.join(known)}")
    return parameters


def _from_binary(datatype: str, shape: tuple[int, ...], raw: memoryview, pointer: str) -> Array:
    if datatype == "BYTES":
        return _texts(_split(raw, pointer), shape, pointer)
    dtype = np.dtype(_DTYPES[datatype])
    wanted = math.prod(shape) * dtype.itemsize
    if len(raw) != wanted:
        raise InvalidRequest(
            f"{pointer}: {datatype} of shape {list(shape)} has binary_data_size {wanted}, not {len(raw)}"
        )
    if datatype == "BOOL":
        return (np.frombuffer(raw, "u1") != 0).reshape(shape)
    return np.frombuffer(raw, dtype).reshape(shape)


def _split(raw: memoryview, pointer: str) -> list[str]:
    texts: list[str] = []
    place = 0
    while place < len(raw):
        start = place + 4
        length = int.from_bytes(raw[place:start], "little")
        place = start + length
        if place > len(raw):
            raise InvalidRequest(f"{pointer}: the last element of the binary data is cut off")
        try:
            texts.append(str(raw[start:place], "utf-8"))
        except UnicodeDecodeError:
            raise InvalidRequest(f"{pointer}: element {len(texts)} is not UTF-8") from None
    return texts


def _from_json(datatype: str, shape: tuple[int, ...], data: list[Any], pointer: str) -> Array:
    flat = _flat(data, shape, pointer)
    types = set(map(type, flat))
    if datatype == "BYTES":
        if types - {str}:
            raise InvalidRequest(f"{pointer}: the elements of BYTES are strings")
        return _texts(flat, shape, pointer)
    allowed = {bool} if datatype == "BOOL" else _NUMBERS if datatype.startswith("FP") else {int}
    if types - allowed:
        words = {"BOOL": "true or false"}.get(datatype, "numbers" if allowed is _NUMBERS else "whole numbers")
        raise InvalidRequest(f"{pointer}: the elements of {datatype} are {words}")
    try:
        with np.errstate(over="ignore"):  # beyond FP16 or FP32: refused as infinity
            return np.array(flat, dtype=_DTYPES[datatype]).reshape(shape)
    except OverflowError:
        raise InvalidRequest(f"{pointer}: an element is beyond {datatype}") from None


def _flat(data: list[Any], shape: tuple[int, ...], pointer: str) -> list[Any]:
    """The elements, row by row. They may come so, or in lists within lists as the shape says."""
    wrong = InvalidRequest(f"{pointer}: the data has not the shape {list(shape)}")
    flat, level = data, 0
    while flat and type(flat[0]) is list:
        level += 1
        if level >= len(shape) or len(flat) != math.prod(shape[:level]):
            raise wrong
        if any(type(part) is not list or len(part) != shape[level] for part in flat):
            raise wrong
        flat = list(chain.from_iterable(flat))
    if len(flat) != math.prod(shape):
        raise wrong
    return flat


def _texts(texts: list[str], shape: tuple[int, ...], pointer: str) -> Array:
    if len(texts) != math.prod(shape):
        raise InvalidRequest(f"{pointer}: {len(texts)} elements do not make the shape {list(shape)}")
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array.reshape(shape)


def _to_binary(output: OutputTensor) -> bytes:
    if output.datatype != "BYTES":
        return output.values.astype(_DTYPES[output.datatype], copy=False).tobytes()
    texts = [text.encode() for text in output.values.ravel().tolist()]
    return b"".join(part for text in texts for part in (struct.pack("<I", len(text)), text))
