"""The ingress: HTTP and WebSocket in, jobs out to the models' replicas."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve._private.constants import RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from deployments import asgi_call
from deployments.autoscaling import BACKLOG
from deployments.cluster_view import ClusterView
from deployments.collector import tune_collector
from deployments.draining import DrainWatch
from deployments.exposure import listens_on
from deployments.kafka import probe
from deployments.logs import configure_logging
from deployments.metrics import Exporter
from deployments.server import bound_server
from deployments.versions import BroadcastReplicas
from satellite.access.access import Access
from satellite.access.exposure import check_exposure, check_key_secret
from satellite.api.app import Application
from satellite.api.context import ApiContext
from satellite.artifacts import ArtifactSource
from satellite.batching import Chunk, ChunkResult
from satellite.catalog import Catalog, CatalogEntry
from satellite.config import ModelConfig
from satellite.control import JobControl
from satellite.dispatch import MAX_CALL_BYTES, ModelQueue
from satellite.errors import ConfigError, ReplicaDied
from satellite.events import EventHub
from satellite.metrics import Metrics
from satellite.overview import Overview
from satellite.registry import load_model
from satellite.scaling import wanted_by_backlog
from satellite.service import Service
from satellite.settings import Settings
from satellite.store import Store
from satellite.watching import Watching
from satellite.webhooks.control import WebhookControl
from satellite.webhooks.service import Webhooks

logger = logging.getLogger("satellite.ingress")

MESSAGE_HEAD_BYTES = 64 * 1024  # what Serve adds to a call


@serve.ingress()
class Ingress:
    """The front door. `serve.ingress` gives it its ASGI application once it is constructed.

    Args:
        settings: the settings it was built with.
        model_files: for each model the file that registers it.
        handles: for each model the handle of its deployment.
        details: for each model what its deployment was configured with, for `/api/v1/models`.
        sources: for each model with several versions where they lie.
        kafka: the handle of the deployment that stands between Kafka and the jobs, if there is one.
        webhooks: the handle of the deployment that sends webhooks: Serve deploys what the ingress holds.
    """

    async def __init__(
        self,
        settings: Settings,
        model_files: dict[str, str],
        handles: dict[str, DeploymentHandle],
        details: dict[str, dict[str, Any]],
        sources: dict[str, ArtifactSource],
        kafka: DeploymentHandle | None = None,
        webhooks: DeploymentHandle | None = None,
    ) -> None:
        configure_logging(settings.log_level)
        bound_server(settings)
        if settings.database_url is None or settings.redis_url is None:
            raise ConfigError(
                "SATELLITE_DATABASE_URL and SATELLITE_REDIS_URL must be set on the cluster; "
                "`satellite up` starts embedded servers and sets them"
            )
        check_exposure(settings, await listens_on())
        check_key_secret(settings)
        specs = {name: load_model(Path(file)) for name, file in model_files.items()}
        self._entries = {name: CatalogEntry(spec=spec, config=ModelConfig()) for name, spec in specs.items()}
        self._metrics = Metrics(specs)
        self._queues = {
            name: ModelQueue(
                name,
                entry.config.batching,
                _sender(handles[name]),
                max_queued=entry.config.max_queued,
                max_call_bytes=_max_call_bytes(settings),
                metrics=self._metrics,
            )
            for name, entry in self._entries.items()
        }
        events = EventHub(settings.redis_url, result_cache_s=settings.result_cache_s)
        self._service = Service(
            catalog=Catalog(self._entries),
            queues=self._queues,
            store=await Store.open(settings.database_url, pool_size=settings.database_pool_size),
            events=events,
            metrics=self._metrics,
            settings=settings,
            sources=sources,
            replicas=BroadcastReplicas(handles),
        )
        self._access = Access(self._service.store.keys, events, settings)
        self._watching = Watching(self._service)
        self._control = JobControl(self._service)
        await self._service.start()
        await self._access.start()
        self._exporter = Exporter(self._metrics, self._service.look)
        self._webhooks: Webhooks | None = None
        if settings.webhooks == "ingress":
            self._webhooks = Webhooks(self._service.store, events, settings)
            self._webhooks.start()
        app_name = serve.get_replica_context().app_name
        self._cluster = ClusterView(app_name, list(specs), self._on_cluster_change)
        self._overview = Overview(self._metrics, self._queues, settings.redis_url)
        self._overview.start()
        self._drain_watch = DrainWatch(self._service.drain)
        self._context = ApiContext(
            service=self._service,
            access=self._access,
            watching=self._watching,
            control=self._control,
            webhooks=WebhookControl(self._service, settings),
            settings=settings,
            overview=self._overview,
            cluster=self._cluster,
            details=details,
            probes={} if kafka is None else {"kafka": probe(kafka)},
        )

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take over the models' settings while running. Serve calls this at start and after a deploy."""
        for name, fields in user_config["models"].items():
            if name in self._entries:
                config = ModelConfig.model_validate(fields)
                self._entries[name] = CatalogEntry(spec=self._entries[name].spec, config=config)
                self._queues[name].batching = config.batching
                self._queues[name].max_queued = config.max_queued

    def __serve_build_asgi_app__(self) -> Application:
        """Called by Serve after the constructor."""
        self._app = Application(self._context, echo_request_id=False)  # Serve sends it
        tune_collector()
        return self._app

    # For callers that hold a handle, as `satellite.connect()` does; `request`: see `asgi_call.call`

    async def call(self, *request: Any) -> tuple[int, dict[str, str], bytes]:
        """Any call of the API."""
        return await asgi_call.answer(self._app, *request)

    async def call_streaming(self, *request: Any) -> AsyncGenerator[Any]:
        """Any call of the API whose answer comes in pieces."""
        async with contextlib.aclosing(asgi_call.call(self._app, *request)) as pieces:
            async for piece in pieces:
                yield piece

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What the backlog of each model asks for, see `deployments/autoscaling.py`; called by Serve."""
        return {
            BACKLOG + name: wanted_by_backlog(
                len(queue) + queue.elsewhere.total,
                queue.oldest_wait_s() or 0.0,
                replicas=queue.replicas,
                batch_size=queue.batching.max_batch_size,
                compute_s=queue.compute_s,
                targets=self._entries[name].config.scaling,
            )
            for name, queue in self._queues.items()
        }

    async def __del__(self) -> None:
        """Called by Serve when the replica stops, after its requests have been answered."""
        if hasattr(self, "_cluster"):
            self._drain_watch.close()
            self._cluster.close()
            self._exporter.close()
            await self._watching.close()
            await self._access.close()
            if self._webhooks is not None:
                await self._webhooks.close()
            await self._service.close()
            await self._overview.close()

    def _on_cluster_change(self) -> None:
        for name, state in self._cluster.deployments().items():
            self._queues[name].set_replicas(state.running)
            self._metrics.replicas.set(state.running, name)


def _max_call_bytes(settings: Settings) -> int:
    """What fits one message to a replica."""
    limit_bytes = RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH - MESSAGE_HEAD_BYTES
    if settings.max_body_bytes > limit_bytes:
        logger.warning(
            "Requests as large as SATELLITE_MAX_BODY_BYTES do not fit a message to a replica and will fail: "
            "set RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH in the environment of the cluster.",
            extra={"action": "message_limit", "limit_bytes": limit_bytes},
        )
    return min(MAX_CALL_BYTES, limit_bytes)


def _sender(handle: DeploymentHandle) -> Callable[[Sequence[Chunk]], Awaitable[Sequence[ChunkResult]]]:
    """Hands chunks to a replica, and says `ReplicaDied` for everything that kept it from answering."""
    run_chunks = handle.run_chunks  # a handle's method is made once, not per call

    async def send(chunks: Sequence[Chunk]) -> Sequence[ChunkResult]:
        try:
            return await run_chunks.remote(chunks)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise ReplicaDied("Serve gave up the call that held this request") from None
        except RayTaskError:
            raise  # the replica answered, with an error of its own
        except (RayError, RayServeException) as error:
            raise ReplicaDied(f"the replica that held this request died ({type(error).__name__})") from error

    return send
