"""The OpenAPI document as Markdown, for those who read rather than generate: docs/API_REFERENCE.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

HEAD = """\
# API reference

Every call, from the API's own description (`satellite openapi`; with a running system at `/docs`, with
schemas and a form to try). How calls belong together stands in [JOBS.md](JOBS.md), with real answers.
Errors are RFC 9457 problems, told apart by `code`; those of `/v2` have the form of the Open Inference
Protocol. This file is written by `satellite openapi --markdown`.
"""


def render(document: Json) -> str:
    """All operations, by tag.

    Args:
        document: an OpenAPI document.
    """
    tags: dict[str, list[str]] = {tag["name"]: [] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            text = "\n".join(_operation(method.upper(), path, operation, document["components"]["schemas"]))
            for tag in operation.get("tags", ["other"]):
                tags.setdefault(tag, []).append(text)
    told = {tag["name"]: tag.get("description", "") for tag in document["tags"]}
    parts = [HEAD]
    for name, texts in tags.items():
        if texts:
            parts.append(f"## {name.capitalize()}\n\n{told.get(name, '')}\n".replace("\n\n\n", "\n"))
            parts.extend(texts)
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Json, schemas: Json) -> Iterator[str]:
    yield f"### {method} {path}\n"
    yield f"{operation.get('description') or operation.get('summary', '')}\n".replace("\n\n\n", "\n\n")
    fields = [
        (parameter["name"], parameter["in"], parameter.get("description", ""))
        for parameter in operation.get("parameters", [])
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    body = _resolved(body, schemas)
    needed = body.get("required", [])
    fields += [
        (name, "body, required" if name in needed else "body", schema.get("description", ""))
        for name, schema in body.get("properties", {}).items()
    ]
    if fields:
        yield "| field | in | what |\n|---|---|---|"
        for name, place, what in fields:
            yield f"| `{name}` | {place} | {_cell(what)} |"
        yield ""
    yield "| answer | what |\n|---|---|"
    for status, response in operation["responses"].items():
        yield f"| {status} | {_cell(response.get('description', ''))} |"
    yield ""


def _resolved(schema: Json, schemas: Json) -> Json:
    """A schema with fields: of several, as the bodies of several models are, the first."""
    while "properties" not in schema:
        choices = schema.get("oneOf") or schema.get("anyOf") or []
        reference = schema.get("$ref") or (choices[0].get("$ref") if choices else None)
        if reference is None:
            return choices[0] if choices else schema
        schema = schemas[reference.rpartition("/")[2]]
    return schema


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
