"""`/api/v1/models`: what can be asked, and how it is served."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from satellite.api.context import ApiContext, context_of
from satellite.api.openapi import problems
from satellite.api.schemas import ModelInfo, ModelList

router = APIRouter(prefix="/api/v1/models", tags=["models"])


@router.get("", response_model=ModelList)
async def list_models(request: Request) -> dict[str, Any]:
    """All models: versions, schemas, an example, replicas, settings, state."""
    context = context_of(request)
    return {"models": [describe(name, context) for name in context.service.catalog]}


@router.get("/{name}", response_model=ModelInfo, responses=problems(404))
async def get_model(request: Request, name: str) -> dict[str, Any]:
    """One model."""
    context = context_of(request)
    return describe(context.service.catalog.find(name).spec.name, context)


def describe(name: str, context: ApiContext) -> dict[str, Any]:
    """A model in wire form."""
    entry = context.service.catalog[name]
    cls = entry.spec.cls
    state = context.cluster.deployments().get(name)
    return {
        "name": name,
        "version": entry.spec.version,
        "versions": [entry.spec.version],
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
