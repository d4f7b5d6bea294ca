"""`serve_config.yaml` -> `build(args)` -> one application: an ingress, the models' deployments, others."""

# No postponed annotations here: Serve reads the type of `args` from the signature to validate them.
from pathlib import Path
from typing import Literal

import ray
from pydantic import BaseModel
from ray import serve

from deployments.ingress import Ingress
from deployments.kafka import KafkaConsumer
from deployments.registry import find_deployments, ingress_options, kafka_options
from deployments.webhooks import WebhookSender, webhooks_options
from satellite.config import EnvironmentConfig, load_environment
from satellite.model import KAFKA, WEBHOOKS
from satellite.settings import Settings


class AppArgs(BaseModel, extra="forbid"):
    """The `args` of the application in a Serve config file.

    Attributes:
        environment: which file of `configs/environments/` applies; left out: `SATELLITE_ENVIRONMENT` of the
            cluster.
        models_path: folders of models beside `models/`; left out: `SATELLITE_MODELS_PATH` of the cluster.
        fingerprint: of all that takes effect only when the application is built again. Nothing reads it, but
            Serve builds again when it changes; see `deployments/render.py`.
    """

    environment: str | None = None
    models_path: list[Path] | None = None
    fingerprint: str = ""


def build(args: AppArgs) -> serve.Application:
    """Build the application `satellite`. Serve calls this on the cluster."""
    settings = Settings()
    if args.models_path is not None:
        settings = settings.model_copy(update={"models_path": tuple(args.models_path)})
    environment = load_environment(settings.root / "configs", args.environment or settings.environment)
    settings = settings.model_copy(update={"webhooks": settings.webhooks or environment.webhooks.run_in})
    gpus = ray.cluster_resources().get("GPU", 0)
    models = find_deployments(settings, resolve_profile(settings, environment, gpus))
    ingress = serve.deployment(Ingress).options(
        name="Ingress", **ingress_options(environment.ingress, models)
    )
    files = {name: model.spec.file for name, model in models.items()}
    sources = {name: model.source for name, model in models.items() if model.source}
    kafka = None
    if settings.kafka_bootstrap:
        options = kafka_options(environment.kafka, models)
        kafka = serve.deployment(KafkaConsumer).options(name=KAFKA, **options).bind(settings, files, sources)
    webhooks = None
    if settings.webhooks == "deployment":
        options = webhooks_options(environment.webhooks, settings)
        webhooks = serve.deployment(WebhookSender).options(name=WEBHOOKS, **options).bind(settings)
    return ingress.bind(
        settings,
        files,
        {name: model.bind(settings) for name, model in models.items()},
        {name: model.details() for name, model in models.items()},
        sources,
        kafka,
        webhooks,
    )


def resolve_profile(settings: Settings, environment: EnvironmentConfig, gpus: float) -> Literal["cpu", "gpu"]:
    """Which resources the models ask for: the setting, else the environment's, else what the cluster has."""
    for profile in (settings.profile, environment.profile):
        if profile != "auto":
            return profile
    return "gpu" if gpus else "cpu"
