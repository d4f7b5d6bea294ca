"""The Open Inference Protocol in the API's description. The routes write these shapes themselves."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

BINARY = "application/octet-stream"

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
]


class ProtocolError(BaseModel):
    """An error of the protocol."""

    error: str = Field(description="What happened and what to do.")


class ServerMetadata(BaseModel):
    """Which server this is."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor of a model."""

    name: str
    datatype: Datatype
    shape: list[int] = Field(description="The first dimension counts rows; -1 may be any length.")


class ModelMetadata(BaseModel):
    """A model and its tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Ready(BaseModel):
    """It can be asked."""

    name: str | None = None
    ready: bool


class IndexEntry(BaseModel):
    """A version of a model."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class InputTensor(BaseModel):
    """A tensor that is sent."""

    name: str
    shape: list[int]
    datatype: Datatype
    data: list[Any] | None = Field(None, description="Row by row. Left out if it follows in binary.")
    parameters: dict[str, Any] | None = Field(None, description="`binary_data_size`: how many bytes follow.")


class WantedOutput(BaseModel):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] | None = Field(None, description="`binary_data`: true or false.")


class OutputTensor(InputTensor):
    """A tensor that comes back."""


class InferRequestBody(BaseModel):
    """An inference request."""

    id: str | None = None
    inputs: list[InputTensor]
    outputs: list[WantedOutput] | None = None
    parameters: dict[str, Any] | None = Field(
        None, description="The fields of the model's config; `timeout`; `binary_data_output`."
    )


class InferAnswer(BaseModel):
    """The answer to an inference request."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


_ERROR = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ProtocolError"}}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such model or version.", **_ERROR},
    503: {"description": "It is not ready.", **_ERROR},
}
_EXAMPLE = {
    "inputs": [
        {
            "name": "data",
            "shape": [1, 8],
            "datatype": "FP64",
            "data": [1.2, 2.3, 3.1, 2.8, 3.5, 4.2, 3.9, 4.5],
        }
    ],
    "parameters": {"forecast_steps": 5},
}
# How `infer` is documented. Its body is parsed by `oip_wire.py`.
INFER: dict[str, Any] = {
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/InferRequestBody"},
                    "example": _EXAMPLE,
                },
                BINARY: {
                    "schema": {
                        "type": "string",
                        "format": "binary",
                        "description": "The same JSON, then the binary data of its tensors; "
                        "`Inference-Header-Content-Length` is the length of the JSON.",
                    }
                },
            },
        }
    },
    "responses": {
        200: {"model": InferAnswer, "description": "The outputs."},
        400: {"description": "The request is malformed, or does not fit the model.", **_ERROR},
        413: {"description": "The body is too large.", **_ERROR},
        415: {"description": "The body is compressed in an unknown way.", **_ERROR},
        429: {"description": "Too many requests wait for this model.", **_ERROR},
        504: {"description": "No answer within `timeout`.", **_ERROR},
    },
}
