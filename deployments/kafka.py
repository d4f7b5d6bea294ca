"""The deployment that stands between Kafka and the job store; what it does is in `satellite/kafka/`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.collector import tune_collector
from deployments.logs import configure_logging
from deployments.metrics import Exporter
from satellite.artifacts import ArtifactSource
from satellite.catalog import Catalog, CatalogEntry
from satellite.config import ModelConfig
from satellite.errors import ConfigError
from satellite.events import EventHub
from satellite.kafka.bridge import Bridge
from satellite.metrics import KafkaMetrics
from satellite.registry import load_model
from satellite.releases import NoReplicas, Releases
from satellite.settings import Settings
from satellite.store import Store

ASK_TIMEOUT_S = 2.0


class KafkaConsumer:
    """A member of the consumer group; one of them at a time sends results out, and one steps.

    Args:
        settings: the settings it was built with.
        model_files: for each model the file that registers it.
        sources: for each model with several versions where they lie.
    """

    async def __init__(
        self, settings: Settings, model_files: dict[str, str], sources: dict[str, ArtifactSource]
    ) -> None:
        configure_logging(settings.log_level)
        # What it says many times a second while brokers are away, the bridge says once.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        if settings.database_url is None or settings.redis_url is None:
            raise ConfigError("SATELLITE_DATABASE_URL and SATELLITE_REDIS_URL must be set on the cluster")
        specs = {name: load_model(Path(file)) for name, file in model_files.items()}
        self._entries = {name: CatalogEntry(spec=spec, config=ModelConfig()) for name, spec in specs.items()}
        catalog = Catalog(self._entries)
        store = await Store.open(settings.database_url, pool_size=settings.database_pool_size)
        events = EventHub(settings.redis_url, result_cache_s=0)
        metrics = KafkaMetrics(specs)
        self._bridge = Bridge(
            catalog=catalog,
            releases=Releases(catalog, sources, store, events, NoReplicas()),
            store=store,
            events=events,
            metrics=metrics,
            settings=settings,
        )
        await self._bridge.start()
        self._exporter = Exporter(metrics, self._bridge.look)
        tune_collector()

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take over the models' settings while running. Serve calls this at start and after a deploy."""
        for name, fields in user_config["models"].items():
            if name in self._entries:
                config = ModelConfig.model_validate(fields)
                self._entries[name] = CatalogEntry(spec=self._entries[name].spec, config=config)

    async def health(self) -> dict[str, Any]:
        """How it is, as a part of `/health`."""
        return self._bridge.health()

    async def __del__(self) -> None:
        """Called by Serve when the replica stops."""
        if hasattr(self, "_exporter"):
            self._exporter.close()
            await self._bridge.close()


def probe(handle: DeploymentHandle) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Asks all replicas how they are, and tells of the one that is worst."""

    async def ask() -> dict[str, Any]:
        try:
            call = handle.broadcast("health")
            answers = await call.results_async(timeout_s=ASK_TIMEOUT_S, return_exceptions=True)
        except DeploymentUnavailableError:
            return _degraded("no replica is running")
        except (TimeoutError, asyncio.CancelledError, RayError, RayServeException) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            return _degraded("not every replica answers")
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if failed:
            return _degraded(f"a replica has failed: {failed[0]}"[:300])
        return max(answers, key=lambda answer: (answer["state"] != "ok", answer["detail"] is not None))

    return ask


def _degraded(detail: str) -> dict[str, Any]:
    return {"state": "degraded", "latency_ms": None, "detail": detail}
