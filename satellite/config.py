"""The YAML files under `configs/`, validated: one per model, one per environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from satellite.device import DType
from satellite.errors import ConfigError

C = TypeVar("C", bound=BaseModel)


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Resources(_Config):
    """What one replica asks Ray for, and how it computes there. Fractions share a CPU or GPU."""

    num_cpus: float = Field(default=0.25, ge=0)
    num_gpus: float = Field(default=0, ge=0)
    dtype: DType = Field(
        default="float32", description="What `satellite.device.Device.autocast` lets a network compute in."
    )

    def ray_options(self) -> dict[str, float]:
        """The part that Ray reads."""
        return self.model_dump(include={"num_cpus", "num_gpus"})


class Batching(_Config):
    """When a batch leaves: `max_batch_size` requests, or `batch_wait_timeout_s` after its oldest came."""

    max_batch_size: int = Field(default=8, ge=1, le=1024)
    batch_wait_timeout_s: float = Field(default=2.0, ge=0, le=60)
    flush: Literal["window", "idle"] = Field(
        default="window",
        description="idle: a free replica takes what is there at once; window: jobs wait for company.",
    )


class Versions(_Config):
    """Where the versions of a model lie, and how many a replica keeps. For models that take an artifact."""

    source: str | None = Field(
        default=None,
        description="A folder: a path (a relative one starts at the root), s3://bucket/folder or "
        "https://host/folder. Left out: artifacts/<name> beside the model's file.",
    )
    storage_options: dict[str, Any] = Field(
        default={}, description="For fsspec, such as endpoint_url. Keys belong in the environment."
    )
    default: str | None = Field(
        default=None,
        description="The version that answers unless a request or the API names another. Left out: the one "
        "the class declares, or the newest if there is none of that name.",
    )
    max_loaded_versions: int = Field(default=3, ge=1, le=256, description="In one replica.")
    max_loaded_bytes: int | None = Field(
        default=None, ge=1, description="In one replica, by the sizes in the manifests."
    )


class Scaling(_Config):
    """What the replicas of a model are scaled by, beside the requests that Serve knows of.

    Whichever asks for most counts. Bounds and delays stand in `autoscaling`.
    """

    target_drain_s: float = Field(
        default=10, gt=0, description="What waits should be worked off in this time."
    )
    target_oldest_s: float = Field(
        default=10, gt=0, description="A request that can run should not wait for longer than this."
    )
    target_cpu_percent: float = Field(
        default=70, gt=0, le=100, description="Of the processors that a replica computes on."
    )


class ModelConfig(_Config):
    """`configs/models/<name>.yaml`. Every field has a default: a model needs no file here."""

    enabled: bool = Field(
        default=True,
        description="Whether it is deployed where SATELLITE_MODELS does not say which models are. Every "
        "replica is a process with its own memory.",
    )
    cpu: Resources = Field(default=Resources(), description="Resources under the profile `cpu`.")
    gpu: Resources = Field(
        default=Resources(num_cpus=0.25, num_gpus=0.25),
        description="Resources under the profile `gpu`.",
    )
    batching: Batching = Batching()
    versions: Versions = Versions()
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=20,
        description="How often a job may be run; one that is lost every time ends dead.",
    )
    retry_delay_s: float = Field(
        default=0.2, gt=0, le=60, description="Before the second attempt; doubled each time, with jitter."
    )
    max_retry_delay_s: float = Field(default=60, gt=0, le=3600, description="The delay grows no further.")
    max_queued: int = Field(
        default=100_000, ge=1, description="Requests that may wait in the whole system: then 429."
    )
    autoscaling: dict[str, Any] = Field(
        default={"min_replicas": 1, "max_replicas": 1},
        description="The fields of Ray Serve's own AutoscalingConfig. `min_replicas: 0` lets a model sleep "
        "until its first job.",
    )
    scaling: Scaling = Scaling()
    graceful_shutdown_timeout_s: float = Field(
        default=30, gt=0, description="Longer than the longest batch, so that a stopping replica finishes it."
    )
    max_surge_percent: int = Field(
        default=100,
        ge=0,
        le=100,
        description="How many new replicas, of 100, a deploy may start before old ones stop. 0 where there "
        "is no room for them (a GPU that the old ones fill): requests then wait for the new ones to load.",
    )


class IngressConfig(_Config):
    """How the ingress deployment runs."""

    num_cpus: float = Field(default=0.25, ge=0)
    max_ongoing_requests: int = Field(
        default=10_000, ge=1, description="Requests and sockets one replica may hold."
    )
    autoscaling: dict[str, Any] = {"min_replicas": 1, "max_replicas": 1}
    graceful_shutdown_timeout_s: float = Field(
        default=330,
        gt=0,
        description="Longer than the longest `wait_s` of a predict and the longest batch. One that has "
        "nothing left to answer leaves at once.",
    )
    max_surge_percent: int = Field(
        default=100,
        ge=0,
        le=100,
        description="How many new replicas, of 100, a deploy may start before old ones stop.",
    )


class KafkaConfig(_Config):
    """How the Kafka deployment runs, where SATELLITE_KAFKA_BOOTSTRAP is set."""

    num_cpus: float = Field(default=0.1, ge=0)
    replicas: int = Field(
        default=1, ge=1, description="They share the partitions: more than there are of those are of no use."
    )
    graceful_shutdown_timeout_s: float = Field(default=40, gt=0)


class WebhooksConfig(_Config):
    """Where webhooks are sent from."""

    run_in: Literal["deployment", "ingress", "off"] = Field(
        default="deployment",
        description="A deployment of its own, or the ingresses; SATELLITE_WEBHOOKS overrides it. off: none "
        "are sent, and none are taken.",
    )
    replicas: int = Field(default=1, ge=1, description="Of the deployment. They share the work.")
    num_cpus: float = Field(default=0.1, ge=0, description="What each of them asks Ray for.")


class EnvironmentConfig(_Config):
    """`configs/environments/<name>.yaml`: what differs between a laptop and a cluster."""

    profile: Literal["auto", "cpu", "gpu"] = "auto"
    ingress: IngressConfig = IngressConfig()
    kafka: KafkaConfig = KafkaConfig()
    webhooks: WebhooksConfig = WebhooksConfig()


def load_yaml(path: Path, schema: type[C]) -> C:
    """Read and validate one file.

    Raises:
        ConfigError: it is missing, is not YAML, or does not validate; the message names the file and field.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return schema.model_validate({} if content is None else content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise ConfigError(f"{path}: {problems}") from None


def load_model_config(configs: Path, name: str) -> ModelConfig:
    """The config of one model, `NAME.yaml` in the folder `configs`; the defaults if it has no file."""
    path = configs / f"{name}.yaml"
    return load_yaml(path, ModelConfig) if path.exists() else ModelConfig()


def load_environment(configs: Path, name: str) -> EnvironmentConfig:
    """The config of one environment.

    Raises:
        ConfigError: there is none of this name, or it does not validate.
    """
    folder = configs / "environments"
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise ConfigError(f"there is no environment '{name}' in {folder}; there are: {known}")
    return load_yaml(path, EnvironmentConfig)
