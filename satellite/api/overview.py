"""`GET /api/v1/overview`: how all models do, now and in the last hour, and the cluster they run on."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from satellite.access.callers import Caller, Scope
from satellite.api.context import ApiContext, ClusterState, caller_of, context_of
from satellite.api.inference import JSON
from satellite.api.openapi import described
from satellite.overview import STEP_S

router = APIRouter(prefix="/api/v1/overview", tags=["overview"])


@router.get("", **described("overview"))
async def overview(request: Request) -> Response:
    """How all models do on all ingresses: the last 2 s, the last hour in steps of 10 s, and the cluster.

    `{"subscribe": {"overview": true}}` over the WebSocket sends `now` and `cluster` every 2 s.
    """
    context = context_of(request)
    history, latest = await asyncio.gather(
        context.overview.history(), describe_now(context, caller_of(request))
    )
    content = {
        "step_s": STEP_S,
        **latest,
        "complete": latest["complete"] and history.complete,
        "history": {"at": history.at, "models": history.models},
    }
    return Response(orjson.dumps(content, option=orjson.OPT_UTC_Z), media_type=JSON)


async def describe_now(context: ApiContext, caller: Caller) -> dict[str, Any]:
    """The last seconds and the cluster, in wire form. The machines are shown to who may administer them."""
    now, cluster = await asyncio.gather(context.overview.now(), context.cluster.look())
    if Scope.ADMIN not in caller.scopes:
        cluster = ClusterState(ingresses=cluster.ingresses)
    deployments = context.cluster.deployments()
    models = {
        name: {**columns, "replicas": deployments[name].running if name in deployments else 0}
        for name, columns in now.models.items()
    }
    return {
        "now": {"at": now.at, "span_s": now.span_s, "models": models},
        "cluster": asdict(cluster),
        "complete": now.complete,
    }
