"""Sends webhooks, beside the ingress: what receivers do shall not be felt by callers."""

from __future__ import annotations

from typing import Any

from deployments.collector import tune_collector
from deployments.logs import SERVE_LOGGING, configure_logging
from satellite.config import WebhooksConfig
from satellite.errors import ConfigError
from satellite.events import EventHub
from satellite.settings import Settings
from satellite.store import Store
from satellite.webhooks.service import Webhooks

# Tries wait for receivers, hardly ever for the database.
POOL_SIZE = 4


class WebhookSender:
    """Takes no requests; each replica sends what is due.

    Args:
        settings: the settings it was built with.
    """

    async def __init__(self, settings: Settings) -> None:
        configure_logging(settings.log_level)
        if settings.database_url is None or settings.redis_url is None:
            raise ConfigError("SATELLITE_DATABASE_URL and SATELLITE_REDIS_URL must be set on the cluster")
        self._store = await Store.open(settings.database_url, pool_size=POOL_SIZE)
        self._events = EventHub(settings.redis_url, result_cache_s=0)
        await self._events.start()
        self._webhooks = Webhooks(self._store, self._events, settings)
        self._webhooks.start()
        tune_collector()

    async def __del__(self) -> None:
        """Called by Serve when the replica stops."""
        if hasattr(self, "_webhooks"):
            await self._webhooks.close()
            await self._events.close()
            await self._store.close()


def webhooks_options(config: WebhooksConfig, settings: Settings) -> dict[str, Any]:
    """The Serve options of the deployment, in the form that a Serve config file takes too."""
    return {
        "ray_actor_options": {"num_cpus": config.num_cpus},
        "num_replicas": config.replicas,
        # A try that has begun is waited for.
        "graceful_shutdown_timeout_s": settings.webhook_timeout_s + 15,
        "logging_config": SERVE_LOGGING,
    }
