"""The API's description: what FastAPI cannot see because the models' schemas are known only at start."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from satellite.api.schemas import Accepted, JobResult, Problem
from satellite.catalog import Catalog

REQUEST_REF = {"$ref": "#/components/schemas/InferenceRequest"}

_PROBLEMS = {
    400: "The body is not JSON.",
    404: "There is no such model.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "The request does not fit the model's schema.",
    429: "Too many requests wait for this model.",
    503: "The job store does not answer.",
    504: "No answer within `wait_s`.",
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


def described(operation: str) -> dict[str, Any]:
    """The keyword arguments that document an inference route."""
    accepted = {"model": Accepted, "description": "Stored. Follow `links.result`."}
    done = {"model": JobResult, "description": "The job."}
    body = {"requestBody": {"required": True, "content": {"application/json": {"schema": REQUEST_REF}}}}
    no_job = problems(404, 422, 503, s404="There is no such job.", s422="The id or `wait_s` is malformed.")
    return {
        "submit": {
            "status_code": 202,
            "openapi_extra": body,
            "responses": {202: accepted, **problems(400, 404, 413, 415, 422, 429, 503)},
        },
        "result": {"responses": {200: done, **no_job}},
        "predict": {
            "openapi_extra": body,
            "responses": {
                200: done,
                202: accepted,
                **problems(400, 404, 413, 415, 422, 429, 503, 504),
            },
        },
    }[operation]


def install(app: FastAPI, catalog: Catalog) -> None:
    """Make `app.openapi()` describe every model's request and answer, with an example for each."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app, catalog)
        return app.openapi_schema

    app.openapi = openapi


def _build(app: FastAPI, catalog: Catalog) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    components["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(components["Problem"].pop("$defs", {}))
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
    for path in schema["paths"].values():
        for operation in path.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if content.get("schema") == REQUEST_REF:
                content["examples"] = examples
    return schema


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
        },
    }
