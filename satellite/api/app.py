"""The application: request ids, hot routes, FastAPI with its routes, errors and documentation."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from satellite import __version__
from satellite.api import (
    access,
    events,
    health,
    inference,
    jobs,
    models,
    oip,
    openapi,
    overview,
    page,
    problems,
    webhooks,
    websocket,
)
from satellite.api.context import ApiContext
from satellite.api.guard import Guard
from satellite.api.hot import ROUTE_NAMES, HotRoutes
from satellite.api.middleware import RequestMiddleware
from satellite.catalog import Catalog

# What pages from elsewhere may send; `Authorization` is a header like any other here, and no cookie is.
CORS_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "X-Request-ID")

DESCRIPTION = """
Submit a job, get an id at once, read the result later or watch it arrive.

Errors are RFC 9457 problems: decide by `code`, read `detail`, quote `request_id`. Those of `/v2` have the
form of the Open Inference Protocol, `{"error": "..."}`.
Live events come as server-sent events from `/api/v1/events`, and over the WebSocket at `/api/v1/ws`.
"""


class Application:
    """What an ingress serves: every request gets its id, the hot routes come first, FastAPI has the rest.

    Args:
        context: what it serves.
        echo_request_id: see `RequestMiddleware`.
    """

    def __init__(self, context: ApiContext, *, echo_request_id: bool = True) -> None:
        self.fastapi = fastapi(context.service.catalog)
        self.fastapi.state.context = context
        origins = context.settings.allowed_origins
        app: ASGIApp = Guard(HotRoutes(self.fastapi), context.access, origins)
        if origins:
            app = CORSMiddleware(
                app,
                allow_origins=origins,
                allow_methods=["GET", "POST", "PATCH", "DELETE"],
                allow_headers=CORS_HEADERS,
                expose_headers=["Location", "Idempotent-Replayed", "Retry-After", "X-Request-ID"],
            )
        self._stack = RequestMiddleware(app, metrics=context.service.metrics, echo=echo_request_id)
        # Serve looks at these two to name requests in its metrics.
        self.routes: list[BaseRoute] = [*ROUTE_NAMES, *self.fastapi.routes]
        self.router = self.fastapi.router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self._stack(scope, receive, send)


def fastapi(catalog: Catalog) -> FastAPI:
    """The routes. Without `state.context` they can be described, and not be served.

    Args:
        catalog: the models whose schemas the description shows.
    """
    # As FastAPI, but the documentation page brings its own scripts: it works without the internet.
    app = FastAPIOffline(
        redoc_url=None,
        title="Satellite",
        version=__version__,
        description=DESCRIPTION,
        openapi_tags=[
            {"name": "inference", "description": "Submit jobs, read results, predict."},
            {"name": "jobs", "description": "List, explain, cancel, repeat and watch jobs."},
            {"name": "webhooks", "description": "Be told of jobs by HTTP, signed."},
            {"name": "models", "description": "What can be asked."},
            {"name": "overview", "description": "How all models and the cluster do."},
            {
                "name": "open inference protocol",
                "description": "The models as KServe's and Triton's clients know them.",
            },
            {"name": "access", "description": "API keys and tickets."},
            {"name": "health", "description": "How the system is."},
        ],
    )
    problems.install(app)
    openapi.install(app, catalog)
    app.include_router(inference.router)
    app.include_router(jobs.router)
    app.include_router(jobs.dead_letters_router)
    app.include_router(webhooks.router)
    app.include_router(events.router)
    app.include_router(models.router)
    app.include_router(overview.router)
    app.include_router(oip.router)
    app.include_router(access.router)
    app.include_router(health.router)
    app.include_router(websocket.router)
    page.install(app)
    return app
