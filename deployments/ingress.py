"""The ingress: HTTP and WebSocket in, jobs out to the models' replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve._private.constants import RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.cluster_view import ClusterView
from deployments.draining import DrainWatch
from deployments.freezing import freeze
from deployments.kafka import probe
from deployments.logs import configure_logging
from deployments.metrics import Exporter
from deployments.versions import BroadcastReplicas
from satellite.api.app import Application
from satellite.api.body import parse_item
from satellite.api.context import ApiContext
from satellite.api.inference import accepted_body
from satellite.api.jobs import job_detail, job_summary
from satellite.artifacts import ArtifactSource
from satellite.batching import Chunk, ChunkResult
from satellite.catalog import Catalog, CatalogEntry
from satellite.config import ModelConfig
from satellite.control import JobControl
from satellite.dispatch import MAX_CALL_BYTES, ModelQueue
from satellite.errors import ConfigError, ReplicaDied
from satellite.events import EventHub
from satellite.jobs import JobStatus
from satellite.metrics import Metrics
from satellite.overview import Overview
from satellite.registry import load_model
from satellite.service import Service
from satellite.settings import Settings
from satellite.store import JobFilter, Store
from satellite.watching import Watching

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
    """

    async def __init__(
        self,
        settings: Settings,
        model_files: dict[str, str],
        handles: dict[str, DeploymentHandle],
        details: dict[str, dict[str, Any]],
        sources: dict[str, ArtifactSource],
        kafka: DeploymentHandle | None = None,
    ) -> None:
        configure_logging(settings.log_level)
        if settings.database_url is None or settings.redis_url is None:
            raise ConfigError(
                "SATELLITE_DATABASE_URL and SATELLITE_REDIS_URL must be set on the cluster; "
                "`satellite up` starts embedded servers and sets them"
            )
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
        self._watching = Watching(self._service)
        self._control = JobControl(self._service)
        await self._service.start()
        self._exporter = Exporter(self._metrics, self._service.look)
        app_name = serve.get_replica_context().app_name
        self._cluster = ClusterView(app_name, list(specs), self._on_cluster_change)
        self._overview = Overview(self._metrics, self._queues, settings.redis_url)
        self._overview.start()
        self._drain_watch = DrainWatch(self._service.drain)
        self._context = ApiContext(
            service=self._service,
            watching=self._watching,
            control=self._control,
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
        app = Application(self._context, echo_request_id=False)  # Serve sends it
        freeze()
        return app

    async def submit(
        self, model_name: str, data: Any, config: dict[str, Any], job: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """`POST /api/v1/inference/submit` for callers that hold a handle; `job`: its other fields."""
        body = {**(job or {}), "model_name": model_name, "data": data, "config": config}
        return accepted_body(await self._service.submit(parse_item(body)))

    async def result(self, job_id: str, wait_s: float = 0) -> dict[str, Any]:
        """`GET /api/v1/inference/result/{job_id}` for callers that hold a handle."""
        _, body = await self._watching.result(UUID(job_id), wait_s=wait_s)
        return orjson.loads(body)

    async def job(self, job_id: str) -> dict[str, Any]:
        """`GET /api/v1/jobs/{job_id}` for callers that hold a handle."""
        stored = await self._control.get(UUID(job_id))
        position, eta_s = await self._control.expectation(stored)
        return _plain({**job_detail(stored), "queue_position": position, "eta_s": eta_s})

    async def explain(self, job_id: str) -> dict[str, Any]:
        """`GET /api/v1/jobs/{job_id}/explain` for callers that hold a handle."""
        return _plain(await self._control.explain(UUID(job_id)))

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """`POST /api/v1/jobs/{job_id}/cancel` for callers that hold a handle."""
        return _plain(job_summary(await self._control.cancel(UUID(job_id))))

    async def jobs(
        self, model_name: str | None, statuses: list[JobStatus], labels: dict[str, str], limit: int
    ) -> list[dict[str, Any]]:
        """The first page of `GET /api/v1/jobs` for callers that hold a handle."""
        wanted = JobFilter(
            model_name=model_name,
            statuses=tuple(statuses),
            labels=tuple(f"{key}={value}" for key, value in labels.items()),
        )
        found = await self._control.list_jobs(wanted, before=None, limit=limit)
        return [_plain(job_summary(job)) for job in found]

    async def __del__(self) -> None:
        """Called by Serve when the replica stops, after its requests have been answered."""
        if hasattr(self, "_cluster"):
            self._drain_watch.close()
            self._cluster.close()
            self._exporter.close()
            await self._watching.close()
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


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """A body in wire form as JSON values, as HTTP's callers get them."""
    return orjson.loads(orjson.dumps(body, option=orjson.OPT_UTC_Z))


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
