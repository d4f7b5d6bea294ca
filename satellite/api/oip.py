"""`/v2`: the Open Inference Protocol, as KServe specifies it and Triton's clients speak it.

Every model is there: its tensors come from its schemas (`satellite/signature.py`), the fields of its config
are the request's parameters. Each row of an inference request is a `predict` of its own, and all of them go
to the model's queue together. Errors have the protocol's form, `{"error": "..."}`.
Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from satellite import __version__
from satellite.api.context import ApiContext, caller_of, context_of
from satellite.api.hangup import while_connected
from satellite.api.health import model_part
from satellite.api.oip_schemas import BINARY, ERRORS, INFER, IndexEntry, ModelMetadata, Ready, ServerMetadata
from satellite.api.oip_wire import (
    HEADER_LENGTH,
    InferRequest,
    OutputTensor,
    compress,
    parse_infer,
    write_infer,
)
from satellite.api.reading import headers_of, read_body
from satellite.batching import Outcome, Tensor
from satellite.catalog import CatalogEntry, ValidRequest
from satellite.errors import InferenceError, InvalidRequest, Unavailable, WaitTimeout
from satellite.lanes import Batch
from satellite.signature import Signature, TensorSpec, gather, signature_of

router = APIRouter(prefix="/v2", tags=["open inference protocol"], responses=ERRORS)

PLATFORM = "satellite"
MAX_ROWS = 1000
_MODEL = "/models/{model_name}"
_VERSION = "/models/{model_name}/versions/{model_version}"
# Triton's own parameters that say nothing here: a predict comes before all jobs, whatever its priority.
_IGNORED = ("priority",)


@router.get("", response_model=ServerMetadata)
async def server_metadata() -> dict[str, Any]:
    """Which server this is, and which extensions of the protocol it speaks."""
    extensions = ["binary_tensor_data", "model_configuration", "parameters"]
    return {"name": "satellite", "version": __version__, "extensions": extensions}


@router.get("/health/live")
async def live() -> dict[str, bool]:
    """This process answers."""
    return {"live": True}


@router.get("/health/ready", response_model=Ready)
async def ready(request: Request) -> dict[str, Any]:
    """200 once every model can be asked."""
    context = context_of(request)
    for name in context.service.catalog:
        _ensure_ready(name, context)
    return {"ready": True}


@router.get(_MODEL, response_model=ModelMetadata)
@router.get(_VERSION, response_model=ModelMetadata)
async def model_metadata(request: Request, model_name: str, model_version: str = "") -> dict[str, Any]:
    """The versions of a model, and its tensors. A length of -1 may be any."""
    context = context_of(request)
    entry, _ = await _find(context, model_name, model_version)
    signature = signature_of(entry.spec)
    return {
        "name": entry.spec.name,
        "versions": context.service.releases.names(model_name),
        "platform": PLATFORM,
        "inputs": [_described(spec) for spec in signature.inputs],
        "outputs": [_described(spec) for spec in signature.outputs],
    }


@router.get(f"{_MODEL}/ready", response_model=Ready)
@router.get(f"{_VERSION}/ready", response_model=Ready)
async def model_ready(request: Request, model_name: str, model_version: str = "") -> dict[str, Any]:
    """200 if the model has a running replica."""
    context = context_of(request)
    await _find(context, model_name, model_version)
    _ensure_ready(model_name, context)
    return {"name": model_name, "ready": True}


@router.get(f"{_MODEL}/config")
@router.get(f"{_VERSION}/config")
async def model_config(request: Request, model_name: str, model_version: str = "") -> dict[str, Any]:
    """The model's tensors as Triton's model configuration spells them; their shapes include the rows."""
    entry, _ = await _find(context_of(request), model_name, model_version)
    signature = signature_of(entry.spec)
    return {
        "name": entry.spec.name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": 0,  # Triton's word for shapes that include the first dimension
        "input": [{**_configured(spec), "optional": not spec.required} for spec in signature.inputs],
        "output": [_configured(spec) for spec in signature.outputs],
    }


@router.post("/repository/index", response_model=list[IndexEntry])
async def repository_index(request: Request) -> list[dict[str, str]]:
    """All versions of all models, and whether they can be asked."""
    context = context_of(request)
    index: list[dict[str, str]] = []
    for name in context.service.catalog:
        part = model_part(name, context)
        state, reason = ("READY", "") if part["state"] == "ok" else ("UNAVAILABLE", part["detail"])
        index += [
            {"name": name, "version": version, "state": state, "reason": reason}
            for version in context.service.releases.names(name)
        ]
    return index


@router.post(f"{_MODEL}/infer", **INFER)
@router.post(f"{_VERSION}/infer", **INFER)
async def infer(request: Request, model_name: str, model_version: str = "") -> Response:
    """Compute now and answer with the result; each row of the inputs is a request of its own.

    Other parameters than `timeout` (microseconds), `priority` (without effect) and `binary_data_output` are
    the fields of the model's config. One row that cannot be answered fails the request.
    """
    context = context_of(request)
    entry, version = await _find(context, model_name, model_version)
    headers = headers_of(request)
    asked = await _read(request, context, headers)
    signature = signature_of(entry.spec)
    outputs = signature.select(None if asked.outputs is None else list(asked.outputs))
    wait_s, config = _wait_and_config(asked.parameters, entry, context)
    rows = _valid_rows(asked, signature, entry, config)
    tenant = caller_of(request).tenant
    answers = await while_connected(request, _compute(context, model_name, rows, tenant, version, wait_s))
    return _answer(asked, entry, outputs, answers, headers.get(b"accept-encoding", b"").decode("latin-1"))


async def _read(request: Request, context: ApiContext, headers: dict[bytes, bytes]) -> InferRequest:
    body = await read_body(request, context, only_json=False)
    length = headers.get(HEADER_LENGTH.lower().encode())
    return parse_infer(body, None if length is None else length.decode("latin-1"))


def _valid_rows(
    asked: InferRequest, signature: Signature, entry: CatalogEntry, config: dict[str, Any]
) -> list[ValidRequest[str | Tensor]]:
    inputs = signature.rows(asked.tensors)
    if len(inputs) > MAX_ROWS:
        raise InvalidRequest(f"{len(inputs)} rows; send at most {MAX_ROWS} in a request")
    rows: list[ValidRequest[str | Tensor]] = []
    for number, data in enumerate(inputs):
        try:
            rows.append(entry.validate_unstored(data, config))
        except InvalidRequest as error:
            raise InvalidRequest(f"row {number}: {error.detail}") from None
    return rows


async def _compute(
    context: ApiContext,
    model_name: str,
    rows: Sequence[ValidRequest[str | Tensor]],
    tenant: str,
    version: str | None,
    wait_s: float,
) -> list[tuple[Outcome, Batch]]:
    try:
        return await context.service.predict_rows(
            model_name, rows, tenant=tenant, version=version, wait_s=wait_s
        )
    except WaitTimeout as error:
        raise WaitTimeout(f"{error.detail}; raise the parameter timeout (microseconds)") from None


def _answer(
    asked: InferRequest,
    entry: CatalogEntry,
    outputs: Sequence[TensorSpec],
    answers: Sequence[tuple[Outcome, Batch]],
    accept_encoding: str,
) -> Response:
    results: list[Any] = []
    version = entry.spec.version
    for number, (outcome, batch) in enumerate(answers):
        if outcome.error is not None:
            raise _of_row(number, outcome.error)
        assert outcome.output is not None and batch.result is not None
        results.append(orjson.loads(outcome.output))
        version = batch.result.model_version
    head: dict[str, Any] = {"model_name": entry.spec.name, "model_version": version}
    if asked.id is not None:
        head["id"] = asked.id
    wishes = asked.outputs or {}
    tensors = [
        OutputTensor(
            name=spec.name,
            datatype=spec.datatype,
            values=gather(spec, results),
            binary=wishes.get(spec.name, asked.binary),
        )
        for spec in outputs
    ]
    body, json_bytes = write_infer(head, tensors)
    headers = {} if json_bytes is None else {HEADER_LENGTH: str(json_bytes)}
    body, encoding = compress(body, accept_encoding)
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    return Response(body, media_type="application/json" if json_bytes is None else BINARY, headers=headers)


def _of_row(number: int, error: InferenceError) -> InferenceError:
    return type(error)(f"row {number}: {error.detail}", retry_after_s=error.retry_after_s)


def _wait_and_config(
    parameters: dict[str, Any], entry: CatalogEntry, context: ApiContext
) -> tuple[float, dict[str, Any]]:
    """How long the caller waits, and the config: a field of that name comes before the protocol's."""
    fields = entry.spec.cls.Config.model_fields
    config = dict(parameters)
    for name in _IGNORED:
        if name not in fields:
            config.pop(name, None)
    wait_s = context.settings.predict_wait_s
    if "timeout" not in fields and (timeout := config.pop("timeout", None)) is not None:
        longest = context.settings.max_wait_s
        if type(timeout) is not int or not 0 <= timeout <= longest * 1e6:
            raise InvalidRequest(
                f"/parameters/timeout: must be a whole number of microseconds, at most {longest:g} s"
            )
        wait_s = timeout / 1e6 or wait_s
    if "sequence_id" not in fields and "sequence_id" in config:
        raise InvalidRequest("/parameters/sequence_id: models here keep no state between requests")
    return wait_s, config


async def _find(context: ApiContext, name: str, version: str) -> tuple[CatalogEntry, str | None]:
    """The model of this name, and the version that answers; the default one if none is named."""
    entry = context.service.catalog.find(name)
    return entry, await context.service.releases.choose(name, version or None)


def _ensure_ready(name: str, context: ApiContext) -> None:
    part = model_part(name, context)
    if part["state"] != "ok":
        raise Unavailable(f"model '{name}' is not ready: {part['detail']}", retry_after_s=1)


def _described(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _configured(spec: TensorSpec) -> dict[str, Any]:
    datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": spec.shape}
