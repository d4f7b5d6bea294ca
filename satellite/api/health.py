"""`/health`: every part with its state and latency; `/health/live` and `/health/ready` for probes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter, Request
from redis.exceptions import RedisError
from starlette.responses import JSONResponse, Response

from satellite.api.context import ApiContext, context_of, possible_caller
from satellite.api.schemas import Alive, Health
from satellite.errors import SatelliteError

router = APIRouter(tags=["health"])

_NOT_ACCEPTING: dict[int | str, dict[str, Any]] = {
    503: {"model": Health, "description": "Jobs cannot be accepted now."}
}


@router.get("/health", response_model=Health, responses=_NOT_ACCEPTING)
async def health(request: Request) -> Response:
    """Every part with its state and latency. 503 when jobs cannot be accepted.

    With keys on, who sends none is told no more than whether they can.
    """
    context = context_of(request)
    postgres, redis, *others = await asyncio.gather(
        _probe(context.service.store.ping(), when_away="down"),
        # Without Redis everything works, slower.
        _probe(context.service.events.ping(), when_away="degraded"),
        *(probe() for probe in context.probes.values()),
    )
    parts = {"postgres": postgres, "redis": redis, **dict(zip(context.probes, others, strict=True))}
    for name in context.service.catalog:
        parts[f"model:{name}"] = model_part(name, context)
    accepting = postgres["state"] == "ok"
    worst = max((part["state"] for part in parts.values()), key=["ok", "degraded", "down"].index)
    state = "down" if not accepting else "ok" if worst == "ok" else "degraded"
    return _answer(request, state, accepting, parts, 200 if accepting else 503)


@router.get("/health/live", response_model=Alive)
async def live() -> dict[str, str]:
    """This process answers."""
    return {"state": "ok"}


@router.get("/health/ready", response_model=Health, responses=_NOT_ACCEPTING)
async def ready(request: Request) -> Response:
    """200 once jobs can be accepted and every model has a running replica."""
    context = context_of(request)
    parts = {"postgres": await _probe(context.service.store.ping(), when_away="down")}
    for name in context.service.catalog:
        parts[f"model:{name}"] = model_part(name, context)
    ok = all(part["state"] == "ok" for part in parts.values())
    accepting = parts["postgres"]["state"] == "ok"
    return _answer(request, "ok" if ok else "down", accepting, parts, 200 if ok else 503)


def _answer(
    request: Request, state: str, accepting: bool, parts: dict[str, Any], status_code: int
) -> Response:
    shown = {} if possible_caller(request) is None else parts
    return JSONResponse({"state": state, "accepting": accepting, "parts": shown}, status_code=status_code)


async def _probe(ping: Awaitable[None], *, when_away: str) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(2):
            await ping
    except (SatelliteError, RedisError, OSError) as error:
        return {"state": when_away, "latency_ms": None, "detail": str(error)[:200]}
    return {"state": "ok", "latency_ms": round((time.perf_counter() - began) * 1000, 2), "detail": None}


def model_part(name: str, context: ApiContext) -> dict[str, Any]:
    """A model's state: `ok` if it has a running replica, or sleeps until its first job (scaled to zero)."""
    state = context.cluster.deployments().get(name)
    if state is not None and state.sleeps:
        return {"state": "ok", "latency_ms": None, "detail": "no replica until a job comes"}
    if state is None or not state.running:
        detail = state.message or state.state if state else "the cluster has not been asked yet"
        return {"state": "down", "latency_ms": None, "detail": detail}
    latency_s = context.service.queues[name].compute_s
    return {
        "state": "ok",
        "latency_ms": None if latency_s is None else round(latency_s * 1000, 2),
        "detail": None,
    }
