"""`/api/v1/models`: what can be asked, how it is served, and in which version."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from satellite.api.body import invalid, parse_fields, parse_json, parse_version
from satellite.api.context import ApiContext, caller_of, context_of
from satellite.api.openapi import described, problems
from satellite.api.reading import read_body
from satellite.api.schemas import ModelInfo, ModelList, VersionsInfo
from satellite.artifacts import Manifest

router = APIRouter(prefix="/api/v1/models", tags=["models"])


@router.get("", response_model=ModelList)
async def list_models(request: Request) -> dict[str, Any]:
    """All models: versions, schemas, an example, replicas, settings, state."""
    context = context_of(request)
    return {"models": [describe(name, context) for name in context.service.catalog]}


@router.get("/{name}", response_model=ModelInfo, responses=problems(404))
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """One model."""
    return describe(name, _context(request, name))


@router.get("/{name}/versions", response_model=VersionsInfo, responses=problems(404, 503))
async def get_versions(request: Request, name: str) -> dict[str, Any]:
    """The versions of a model, where they are loaded, and which of them answers where none is named."""
    return await _versions(name, _context(request, name))


@router.post("/{name}/default", **described("set_default"))
async def set_default(request: Request, name: str) -> dict[str, Any]:
    """Let a version answer where none is named, on every ingress; or roll back to the default before.

    It is loaded on every replica first. Jobs that were accepted before keep the version they have.
    """
    context = _context(request, name)
    body = parse_json(await read_body(request, context))
    fields = parse_fields(body, {"version": parse_version, "rollback": _true})
    if len(fields) != 1 or fields.get("version", "") is None:
        raise invalid("", 'must be {"version": "1.0.0"} or {"rollback": true}')
    wanted = {"version": fields["version"]} if "version" in fields else {"rollback": True}
    await _audit(request, "model.default", name, **wanted)
    if "version" in fields:
        await context.service.releases.set_default(name, fields["version"])
    else:
        await context.service.releases.roll_back(name)
    return await _versions(name, context)


@router.post("/{name}/versions/{version}/load", **described("load"))
async def load(request: Request, name: str, version: str) -> dict[str, Any]:
    """Load a version on every replica that runs now, so that the first request for it need not wait."""
    releases = _context(request, name).service.releases
    await _audit(request, "model.load", f"{name} {version}")
    return {"version": version, "replicas": await releases.load(name, version)}


@router.delete("/{name}/versions/{version}/load", **described("unload"))
async def unload(request: Request, name: str, version: str) -> dict[str, Any]:
    """Put a version away on every replica, once nothing uses it. Asked for again, it is loaded again."""
    releases = _context(request, name).service.releases
    await _audit(request, "model.unload", f"{name} {version}")
    return {"version": version, "replicas": await releases.unload(name, version)}


def describe(name: str, context: ApiContext) -> dict[str, Any]:
    """A model in wire form."""
    entry = context.service.catalog[name]
    cls = entry.spec.cls
    state = context.cluster.deployments().get(name)
    releases = context.service.releases
    return {
        "name": name,
        "version": releases.default(name),
        "versions": list(releases.versions(name)) or [entry.spec.version],
        "description": entry.spec.description,
        "state": state.state if state else "UNKNOWN",
        "message": state.message if state else "the cluster has not been asked yet",
        "replicas": dict(state.replicas) if state else {},
        "waiting": len(context.service.queues[name]),
        "batching": entry.config.batching.model_dump(),
        **context.details[name],
        "input_schema": entry.spec.input.json_schema(),
        "config_schema": cls.Config.model_json_schema(),
        "output_schema": cls.Output.model_json_schema(),
        "example": {"model_name": name, **cls.example},
    }


async def _versions(name: str, context: ApiContext) -> dict[str, Any]:
    releases = context.service.releases
    default, found = releases.default(name), releases.versions(name)
    loaded = await releases.replicas.loaded(name)
    changes = await releases.history(name)
    return {
        "default": default,
        "history": [{"version": c.version, "set_at": c.set_at, "undone_at": c.undone_at} for c in changes],
        "versions": [
            {
                "version": version,
                "default": version == default,
                "loaded_in": sorted(id_ for id_, replica in loaded.items() if version in replica.versions),
                **_made_of(found.get(version)),
            }
            for version in found or [default]
        ],
        "cache": {
            "max_loaded_versions": context.service.catalog[name].config.versions.max_loaded_versions,
            "hits": sum(replica.hits for replica in loaded.values()),
            "misses": sum(replica.misses for replica in loaded.values()),
            "evictions": sum(replica.evictions for replica in loaded.values()),
        },
    }


def _made_of(known: Manifest | Exception | None) -> dict[str, Any]:
    manifest = known if isinstance(known, Manifest) else None
    return {
        "created": manifest and manifest.created,
        "size_bytes": manifest and manifest.size_bytes,
        "format": manifest and manifest.format,
        "metrics": manifest.metrics if manifest else {},
        "problem": str(known) if isinstance(known, Exception) else None,
    }


def _context(request: Request, name: str) -> ApiContext:
    """The context, if it has a model of this name.

    Raises:
        ModelNotFound: it has none.
    """
    context = context_of(request)
    context.service.catalog.find(name)
    return context


async def _audit(request: Request, action: str, target: str, **details: Any) -> None:
    request_id = request.scope.get("request_id")
    access = context_of(request).access
    await access.audit(caller_of(request), action, target, request_id=request_id, **details)


def _true(value: Any, pointer: str) -> bool:
    if value is not True:
        raise invalid(pointer, "must be true")
    return value
