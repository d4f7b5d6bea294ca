"""The API's description: what FastAPI cannot see because the models' schemas are known only at start."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from satellite.access.rules import is_open, needed_scopes, said
from satellite.api.oip_schemas import InferRequestBody, ProtocolError
from satellite.api.overview_schemas import MESSAGES, Overview
from satellite.api.schemas import (
    Accepted,
    BatchVerdicts,
    Cancels,
    DeadLetters,
    Explanation,
    JobDetail,
    JobEventMessage,
    JobPage,
    JobResult,
    JobSummary,
    LoadedInfo,
    Problem,
    Replays,
    VersionsInfo,
)
from satellite.artifacts import VERSION
from satellite.catalog import Catalog
from satellite.jobs import DEFAULT_PRIORITY, MAX_PRIORITY
from satellite.webhooks.receivers import MAX_URL
from satellite.webhooks.records import DEFAULT_EVENTS, EVENTS

REQUEST_REF = {"$ref": "#/components/schemas/InferenceRequest"}

_PROBLEMS = {
    400: "The body is not JSON.",
    404: "There is no such model.",
    408: "The body did not come in time.",
    409: "The idempotency key was used for another request.",
    410: "The events after this one are no longer kept.",
    413: "The body is too large.",
    415: "The body is not declared as JSON, or is compressed in an unknown way.",
    422: "The request does not fit the model's schema.",
    429: "Too many requests wait for this model.",
    503: "The job store does not answer.",
    504: "No answer within `wait_s`.",
}
_PROBLEMS_OF_ACCESS = {
    401: "There is no API key, or not one that is valid now.",
    403: "The key's scopes do not reach so far, or a page from elsewhere makes this call.",
    429: "The key has made as many requests as it may.",
}


def problems(*statuses: int, **texts: str) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route."""
    return {
        status: {
            "description": texts.get(f"s{status}", _PROBLEMS[status]),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


EVENTS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "string", "enum": list(EVENTS)},
    "default": list(DEFAULT_EVENTS),
    "description": "Which steps of jobs it is for; left out: every end.",
}
# What a caller may ask of a job beside its input.
JOB_OPTIONS: dict[str, Any] = {
    "model_version": {
        "type": ["string", "null"],
        "pattern": f"^{VERSION.pattern}$",
        "description": "Which version of the model; left out: the default at the moment of acceptance.",
    },
    "priority": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_PRIORITY,
        "default": DEFAULT_PRIORITY,
        "description": "9 is the most urgent. A step is worth 30 s of waiting, so none is starved.",
    },
    "deadline_s": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Not started by then: `expired`, and never run.",
    },
    "run_at": {"type": "string", "format": "date-time", "description": "Not before this time."},
    "labels": {
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 255},
        "description": "Your own words, to find jobs by.",
    },
    "max_attempts": {"type": "integer", "minimum": 1, "maximum": 20},
    "webhook": {
        "type": ["object", "null"],
        "required": ["url"],
        "additionalProperties": False,
        "properties": {
            "url": {"type": "string", "format": "uri", "maxLength": MAX_URL},
            "events": EVENTS_SCHEMA,
        },
        "description": "Whom to tell of this job, beside the endpoints at `/api/v1/webhooks`.",
    },
}
_IDEMPOTENCY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Your own name for this request: sent again with it, it is the same job.",
}
_JOB_IDS: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1000,
    "items": {"type": "string", "format": "uuid"},
}
ENVELOPE = (400, 408, 413, 415, 422)


def ok(model: Any, text: str, status: int = 200) -> dict[int | str, Any]:
    """The answer of a route."""
    return {status: {"model": model, "description": text}}


def body(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """The JSON body that a route takes."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def described(operation: str) -> dict[str, Any]:
    """The keyword arguments that document a route."""
    return _OPERATIONS[operation]


_ACCEPTED = ok(Accepted, "Stored. Follow `links.result`.", 202)
_KEYED: dict[str, Any] = {**body(REQUEST_REF), "parameters": [_IDEMPOTENCY]}
_NO_JOB = problems(404, 422, 503, s404="There is no such job.", s422="The id or a parameter is malformed.")
_NOT_ENDED = problems(409, s409="The job has not ended.")

_NO_VERSION = {
    "s404": "There is no such model, or it has no such version.",
    "s409": "The version cannot be loaded, or there is none to go back to.",
    "s503": "The replicas, the source of the versions or the job store do not answer.",
}

_OPERATIONS: dict[str, dict[str, Any]] = {
    "submit": {
        "status_code": 202,
        "openapi_extra": _KEYED,
        "responses": {**_ACCEPTED, **problems(404, 409, 429, 503, *ENVELOPE)},
    },
    "batch": {
        "status_code": 207,
        "openapi_extra": body(
            {
                "type": "object",
                "required": ["items"],
                "additionalProperties": False,
                "properties": {
                    "items": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 1000,
                        "items": REQUEST_REF,
                        "description": "Bodies of `submit`; each may have its own `idempotency_key`.",
                    }
                },
            }
        ),
        "responses": {
            **ok(BatchVerdicts, "A verdict for each item, in order.", 207),
            **problems(503, *ENVELOPE),
        },
    },
    "result": {"responses": {**ok(JobResult, "The job."), **_NO_JOB}},
    "predict": {
        "openapi_extra": _KEYED,
        "responses": {
            **ok(JobResult, "The result."),
            **_ACCEPTED,
            **problems(404, 409, 429, 503, 504, *ENVELOPE),
        },
    },
    "set_default": {
        "openapi_extra": body(
            {
                "type": "object",
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
                "properties": {
                    "version": {"type": "string", "pattern": f"^{VERSION.pattern}$"},
                    "rollback": {"type": "boolean", "const": True, "description": "To the default before."},
                },
            }
        ),
        "responses": {
            **ok(VersionsInfo, "The versions, with the new default."),
            **problems(404, 409, 503, *ENVELOPE, **_NO_VERSION),
        },
    },
    "load": {
        "responses": {
            **ok(LoadedInfo, "It is loaded everywhere."),
            **problems(404, 409, 422, 503, **_NO_VERSION),
        }
    },
    "unload": {
        "responses": {
            **ok(LoadedInfo, "It is not loaded any more."),
            **problems(404, 409, 422, 503, **{**_NO_VERSION, "s409": "It is the default."}),
        }
    },
    "list_jobs": {
        "responses": {**ok(JobPage, "One page."), **problems(422, 503, s422="A filter is malformed.")}
    },
    "get_job": {"responses": {**ok(JobDetail, "The job."), **_NO_JOB}},
    "explain": {"responses": {**ok(Explanation, "The explanation."), **_NO_JOB}},
    "cancel": {
        "responses": {
            **ok(JobSummary, "Cancelled."),
            **ok(JobSummary, "Asked for; see `cancel_requested`.", 202),
            **_NO_JOB,
            **problems(409, s409="The job has ended otherwise."),
        }
    },
    "retry": {
        "status_code": 202,
        "openapi_extra": {
            **body(
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"data": {}, "config": {"type": "object"}, **JOB_OPTIONS},
                    "description": "What the new job has otherwise.",
                },
                required=False,
            ),
            "parameters": [_IDEMPOTENCY],
        },
        "responses": {**_ACCEPTED, **_NOT_ENDED, **problems(404, 429, 503, *ENVELOPE)},
    },
    "cancel_many": {
        "openapi_extra": body(
            {
                "type": "object",
                "required": ["job_ids"],
                "additionalProperties": False,
                "properties": {"job_ids": _JOB_IDS},
            }
        ),
        "responses": {**ok(Cancels, "What became of each, in order."), **problems(503, *ENVELOPE)},
    },
    "dead_letters": {"responses": {**ok(DeadLetters, "The groups."), **problems(503)}},
    "overview": {"responses": ok(Overview, "The overview.")},
    "replay": {
        "openapi_extra": body(
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "job_ids": _JOB_IDS,
                    "model_name": {"type": "string"},
                    "error_code": {"type": "string"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
                },
            },
            required=False,
        ),
        "responses": {**ok(Replays, "What became of each."), **problems(503, *ENVELOPE)},
    },
    "delete": {
        "responses": {204: {"description": "Deleted."}, **_NO_JOB, **_NOT_ENDED},
    },
    "events": {
        "responses": {
            200: {
                "description": "The stream; the data of every event `job` is a JobEventMessage.",
                "content": {
                    "text/event-stream": {"schema": {"$ref": "#/components/schemas/JobEventMessage"}}
                },
            },
            **problems(
                404, 410, 422, 503, s404="There is no such job or model.", s422="The id is malformed."
            ),
        }
    },
}


def install(app: FastAPI, catalog: Catalog) -> None:
    """Make `app.openapi()` describe every model's request and answer, with an example for each."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app, catalog)
        return app.openapi_schema

    app.openapi = openapi
    written: list[bytes] = []

    async def answer(_request: Request) -> Response:
        if not written:
            written.append(orjson.dumps(openapi()))  # once: it takes as long as fifty predicts
        return Response(written[0], media_type="application/json")

    app.router.routes.insert(0, Route("/openapi.json", answer, include_in_schema=False))


def _build(app: FastAPI, catalog: Catalog) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    for model in (Problem, JobEventMessage, ProtocolError, InferRequestBody, *MESSAGES):
        _add_model(components, model)
    components["WsMessage"] = {
        "description": "What the WebSocket /api/v1/ws sends; `type` tells the messages apart.",
        "oneOf": [{"$ref": f"#/components/schemas/{model.__name__}"} for model in MESSAGES],
    }
    requests: list[dict[str, str]] = []
    mapping: dict[str, str] = {}
    examples: dict[str, Any] = {}
    for name, entry in catalog.items():
        cls = entry.spec.cls
        config = _component(components, f"{name}.Config", cls.Config.model_json_schema)
        data = _component(components, f"{name}.Input", entry.spec.input.json_schema)
        _component(components, f"{name}.Output", cls.Output.model_json_schema)
        ref = f"#/components/schemas/{name}.Request"
        components[f"{name}.Request"] = _request_schema(name, entry.spec.description, data, config)
        requests.append({"$ref": ref})
        mapping[name] = ref
        examples[name] = {"summary": name, "value": {"model_name": name, **cls.example}}
    components["InferenceRequest"] = {
        "oneOf": requests,
        "discriminator": {"propertyName": "model_name", "mapping": mapping},
    }
    schema["components"]["securitySchemes"] = {
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "Where keys are on: an API key, `sat_...`, as `satellite keys create` shows it.",
        }
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _add_access(method.upper(), path, operation)
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if content.get("schema") == REQUEST_REF:
                content["examples"] = examples
    return schema


def _add_access(method: str, path: str, operation: dict[str, Any]) -> None:
    """Say which key a call needs, and what it is answered without."""
    if is_open(method, path):
        return
    scopes = needed_scopes(method, path)
    needs = f"a key with the scope {said(scopes)}" if scopes else "any key"
    operation["description"] = (
        f"{operation.get('description', '')}\n\nWhere keys are on: needs {needs}.".strip()
    )
    operation["security"] = [{"apiKey": []}]
    schema = "ProtocolError" if path.startswith("/v2") else "Problem"
    media_type = "application/json" if path.startswith("/v2") else "application/problem+json"
    for status in (401, 403, 429):
        answer = {
            "description": _PROBLEMS_OF_ACCESS[status],
            "content": {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        }
        operation["responses"].setdefault(str(status), answer)


def _add_model(components: dict[str, Any], model: type[BaseModel]) -> None:
    """Add a schema that no route names as its answer."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(schema.pop("$defs", {}))
    components[model.__name__] = schema


def _component(components: dict[str, Any], name: str, json_schema: Any) -> dict[str, str]:
    """Add a model's own schema, its nested types kept apart under its own name."""
    schema = json_schema(ref_template=f"#/components/schemas/{name}.{{model}}")
    for nested, definition in schema.pop("$defs", {}).items():
        components[f"{name}.{nested}"] = definition
    components[name] = schema
    return {"$ref": f"#/components/schemas/{name}"}


def _request_schema(
    name: str, description: str, data: dict[str, str], config: dict[str, str]
) -> dict[str, Any]:
    return {
        "title": f"Request for {name}",
        "description": description,
        "type": "object",
        "required": ["model_name", "data"],
        "additionalProperties": False,
        "properties": {
            "model_name": {"type": "string", "const": name},
            "data": data,
            "config": config,
            **JOB_OPTIONS,
            "store": {
                "type": "boolean",
                "default": False,
                "description": "predict only: store it as a job. submit always does.",
            },
            "wait_s": {
                "type": "number",
                "minimum": 0,
                "description": "predict only: how many seconds to wait.",
            },
            "idempotency_key": {
                **_IDEMPOTENCY["schema"],
                "description": "batch only: an item's own; elsewhere it is the header `Idempotency-Key`.",
            },
        },
    }
