"""Maps every registered model to the Serve deployment that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig

from deployments.logs import SERVE_LOGGING
from deployments.model_replica import ModelReplica
from satellite.config import IngressConfig, ModelConfig, Resources, load_model_config
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

    def options(self) -> dict[str, Any]:
        """The Serve options of the deployment, in the form that a Serve config file takes too."""
        return {
            "ray_actor_options": self.resources.ray_options(),
            "max_ongoing_requests": max(MAX_ONGOING_CHUNKS, self.config.batching.max_batch_size),
            "autoscaling_config": autoscaling(self.spec.name, self.config.autoscaling),
            "user_config": {"batching": self.config.batching.model_dump()},
            "graceful_shutdown_timeout_s": self.config.graceful_shutdown_timeout_s,
            "max_surge_percent": self.config.max_surge_percent,
            "logging_config": SERVE_LOGGING,
        }

    def details(self) -> dict[str, Any]:
        """What `/api/v1/models` shows of it."""
        return {"resources": self.resources.model_dump(), "autoscaling": self.config.autoscaling}

    def bind(self, settings: Settings) -> serve.Application:
        """The deployment, ready to be part of an application."""
        deployment = serve.deployment(ModelReplica).options(name=self.spec.name, **self.options())
        return deployment.bind(
            self.spec.file, settings.torch_threads, settings.log_level, self.resources.dtype
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
        found[name] = ModelDeployment(spec=spec, config=config, resources=resources)
    return found


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
