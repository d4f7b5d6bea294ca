"""Maps every registered model to the Serve deployment that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig

from deployments import routing
from deployments.logs import SERVE_LOGGING
from deployments.model_replica import ModelReplica, VersionedReplica
from satellite.artifacts import ArtifactSource
from satellite.config import IngressConfig, KafkaConfig, ModelConfig, Resources, Versions, load_model_config
from satellite.errors import ConfigError
from satellite.model import INGRESS, ModelSpec
from satellite.registry import load_models
from satellite.settings import Settings

# Far above what the queues hand over, so that Serve's own limit never splits a batch.
MAX_ONGOING_CHUNKS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDeployment:
    """One model on its way to becoming a deployment."""

    spec: ModelSpec
    config: ModelConfig
    resources: Resources
    source: ArtifactSource | None  # of its versions; None: it has the one that its class declares

    def options(self) -> dict[str, Any]:
        """The Serve options of the deployment, in the form that a Serve config file takes too."""
        options = {} if self.source is None else {"request_router_config": routing.OPTIONS}
        return {
            **options,
            "ray_actor_options": self.resources.ray_options(),
            "max_ongoing_requests": max(MAX_ONGOING_CHUNKS, self.config.batching.max_batch_size),
            "autoscaling_config": autoscaling(self.spec.name, self.config.autoscaling),
            "user_config": {
                "batching": self.config.batching.model_dump(),
                "versions": self.config.versions.model_dump(),
                "scaling": self.config.scaling.model_dump(),
            },
            "graceful_shutdown_timeout_s": self.config.graceful_shutdown_timeout_s,
            "max_surge_percent": self.config.max_surge_percent,
            "logging_config": SERVE_LOGGING,
        }

    def details(self) -> dict[str, Any]:
        """What `/api/v1/models` shows of it."""
        return {
            "resources": self.resources.model_dump(),
            "autoscaling": self.config.autoscaling,
            "scaling": self.config.scaling.model_dump(),
        }

    def bind(self, settings: Settings) -> serve.Application:
        """The deployment, ready to be part of an application."""
        kind = VersionedReplica if self.source else ModelReplica
        deployment = serve.deployment(kind).options(name=self.spec.name, **self.options())
        return deployment.bind(
            self.spec.file, settings.torch_threads, settings.log_level, self.resources.dtype, self.source
        )


def find_deployments(settings: Settings, profile: str) -> dict[str, ModelDeployment]:
    """Every model in the settings' folders that is to be deployed, under the profile `cpu` or `gpu`.

    Raises:
        ConfigError: SATELLITE_MODELS names a model that there is not, or a config does not validate.
        ModelDefinitionError: a model file does not fit the contract.
    """
    specs = load_models(*settings.model_folders)
    unknown = set(settings.model_names) - set(specs) - {"all"}
    if unknown:
        raise ConfigError(
            f"SATELLITE_MODELS names {', '.join(sorted(unknown))}; there are: {', '.join(specs)}, or all"
        )
    found = {}
    for name, spec in specs.items():
        config = load_model_config(settings.model_configs(Path(spec.file).parent), name)
        if not settings.deploys(name, config.enabled):
            continue
        resources = config.gpu if profile == "gpu" else config.cpu
        found[name] = ModelDeployment(
            spec=spec, config=config, resources=resources, source=find_source(spec, config.versions, settings)
        )
    return found


def find_source(spec: ModelSpec, versions: Versions, settings: Settings) -> ArtifactSource | None:
    """Where a model's versions lie; None if it has but the one that its class declares.

    Raises:
        ConfigError: a model that takes an artifact has no folder of them, or one that takes none has.
    """
    if not spec.takes_artifact:
        if versions != Versions():
            raise ConfigError(
                f"{spec.name}: its config has `versions`, but its load takes no artifact; declare "
                "load(self, device, artifact), or remove them"
            )
        return None
    url = versions.source or str(spec.artifacts)
    if "://" not in url:
        folder = settings.root / url
        if not folder.is_dir():
            raise ConfigError(
                f"{spec.name}: its load takes an artifact, and there is no folder {folder}; put the versions "
                "there, or set versions.source in its config"
            )
        url = str(folder)
    return ArtifactSource(url, cache=settings.artifact_cache, options=versions.storage_options)


def ingress_options(config: IngressConfig, models: dict[str, ModelDeployment]) -> dict[str, Any]:
    """The Serve options of the ingress, in the form that a Serve config file takes too."""
    return {
        "ray_actor_options": {"num_cpus": config.num_cpus},
        "max_ongoing_requests": config.max_ongoing_requests,
        "autoscaling_config": autoscaling(INGRESS, config.autoscaling),
        "user_config": {"models": {name: model.config.model_dump() for name, model in models.items()}},
        "graceful_shutdown_timeout_s": config.graceful_shutdown_timeout_s,
        "max_surge_percent": config.max_surge_percent,
        "logging_config": SERVE_LOGGING,
    }


def kafka_options(config: KafkaConfig, models: dict[str, ModelDeployment]) -> dict[str, Any]:
    """The Serve options of the Kafka deployment, in the form that a Serve config file takes too."""
    return {
        "ray_actor_options": {"num_cpus": config.num_cpus},
        "num_replicas": config.replicas,
        "user_config": {"models": {name: model.config.model_dump() for name, model in models.items()}},
        "graceful_shutdown_timeout_s": config.graceful_shutdown_timeout_s,
        "logging_config": SERVE_LOGGING,
    }


def autoscaling(name: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Check that these are fields of Serve's AutoscalingConfig, and return them.

    Raises:
        ConfigError: a field is unknown or wrong.
    """
    unknown = set(fields) - set(AutoscalingConfig.model_fields)
    if unknown:
        raise ConfigError(f"{name}: autoscaling has no field {', '.join(sorted(unknown))}")
    try:
        AutoscalingConfig(**fields)
    except ValueError as error:
        raise ConfigError(f"{name}: autoscaling: {error}") from None
    return fields
