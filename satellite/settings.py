"""All settings, in one frozen class: environment variables with the prefix `SATELLITE_`.

Nothing else reads the environment. `Settings()` is built once per process and passed on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

REPO_ROOT = Path(__file__).resolve().parent.parent
# Where container engines put secrets as files: one named satellite_database_url is that setting.
SECRETS = Path("/run/secrets")


def default_home() -> Path:
    """Where data and logs live unless `SATELLITE_HOME` says otherwise.

    As root the embedded PostgreSQL runs as another user, who must be able to enter it: hence /var/lib.
    """
    if os.name == "posix" and os.geteuid() == 0:
        return Path("/var/lib/satellite")
    return Path.home() / ".satellite"


class Settings(BaseSettings):
    """The settings of one process. Units are in the names; every default suits a laptop."""

    model_config = SettingsConfigDict(
        env_prefix="SATELLITE_",
        frozen=True,
        extra="ignore",
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
    )

    home: Path = Field(default_factory=default_home, description="One folder for all data and logs.")
    root: Path = Field(default=REPO_ROOT, description="The folder that holds configs/ and serve_config.yaml.")

    models_path: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Further folders of models, beside models/; several as in PATH. Their configs lie in "
        "the folder's own configs/.",
    )

    database_url: str | None = Field(
        default=None, description="PostgreSQL 15+; unset: an embedded one is started."
    )
    redis_url: str | None = Field(default=None, description="Redis 6.2+; unset: an embedded one is started.")

    http_host: str = Field(default="127.0.0.1", description="Address the front door listens on.")
    http_port: int = Field(default=8000, ge=1, le=65535)
    dashboard_port: int = Field(default=8265, ge=1, le=65535)
    url: str | None = Field(
        default=None, description="Where the CLI and clients find the API; unset: the local one."
    )
    api_key: SecretStr | None = Field(
        default=None, description="What the CLI and clients call the API with, where it asks for keys."
    )

    environment: str = Field(
        default="local", description="Which file of configs/environments/ applies; in a cluster: production."
    )
    models: str | None = Field(
        default=None,
        description="Which models to deploy: names with commas between them, or `all`; unset: those that "
        "their files in configs/models/ enable.",
    )
    serve_mode: Literal["fast", "default"] = Field(
        default="fast",
        description="fast: Ray Serve's throughput mode behind HAProxy; default: Serve's own proxy.",
    )
    profile: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="Which resources the models ask for; auto: gpu where the cluster has one."
    )
    num_cpus: int | None = Field(
        default=None, ge=1, description="CPUs of the local Ray head; unset: all cores."
    )
    keys: bool = Field(
        default=False,
        description="on: every call needs an API key (`satellite keys create`). off: everybody may do "
        "everything, so that all must listen on loopback.",
    )
    key_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="What API keys are hashed with; the same on all nodes. Unset: `satellite up` keeps one "
        "in its home.",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Where else pages may come from that call the API in browsers (CORS), such as "
        "https://app.example.org; with commas between them.",
    )
    ray_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="What Ray asks of everyone who uses its dashboard or joins the cluster; for `satellite "
        "head` and `worker`. Unset: everything must be on loopback.",
    )
    start_timeout_s: float = Field(
        default=180, gt=0, description="How long `satellite up` waits for readiness."
    )

    max_body_bytes: int = Field(
        default=4 * 1024 * 1024, ge=1024, description="Larger request bodies answer 413."
    )
    max_bodies_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024,
        description="Request bodies that an ingress holds in memory; further large ones answer 503.",
    )
    body_timeout_s: float = Field(
        default=30, gt=0, description="How long a request body may take to come; a slower one answers 408."
    )
    max_sockets: int = Field(
        default=10_000,
        ge=1,
        description="WebSockets that an ingress serves; further ones are refused with 503.",
    )
    max_held: int = Field(
        default=10_000,
        ge=1,
        description="Jobs of a model that an ingress holds in memory; further ones wait in PostgreSQL.",
    )
    max_held_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1, description="Inputs of jobs that an ingress holds in memory."
    )
    max_wait_s: float = Field(default=300, gt=0, description="The longest `wait_s` a call may ask for.")
    predict_wait_s: float = Field(
        default=30, gt=0, description="How long `predict` waits unless told otherwise."
    )
    database_pool_size: int = Field(default=8, ge=2, description="PostgreSQL connections per ingress.")
    result_cache_s: int = Field(
        default=3600, ge=0, description="How long Redis keeps a finished job; 0: not at all."
    )
    retention_days: int = Field(
        default=30, ge=1, description="Days after which jobs are dropped, with their inputs and results."
    )
    event_retention_days: int = Field(
        default=3, ge=1, description="Days for which a client may resume the stream of all events."
    )
    idempotency_hours: int = Field(
        default=24, ge=1, description="How long an Idempotency-Key stands for its job."
    )
    artifact_cache: Path | None = Field(
        default=None,
        description="Where versions of models that lie elsewhere are copied to; unset: a folder for "
        "temporary files.",
    )
    kafka_bootstrap: str | None = Field(
        default=None, description="Kafka brokers, `host:port` with commas between them; unset: no Kafka."
    )
    kafka_prefix: str = Field(
        default="satellite",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="What the names of the topics begin with, and the name of the consumer group.",
    )
    kafka_tenant: str = Field(default="default", description="Whose the jobs are that come through Kafka.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca: Path | None = Field(default=None, description="CA certificates (PEM); unset: the system's.")
    kafka_certificate: Path | None = Field(
        default=None, description="This client's certificate (PEM), where the brokers ask for one."
    )
    kafka_key: Path | None = Field(default=None, description="The key of that certificate (PEM).")
    kafka_max_message_bytes: int = Field(
        default=1_000_000,
        ge=10_000,
        description="A result that does not fit a message is left out of it, and a link sent instead.",
    )

    webhooks: Literal["deployment", "ingress", "off"] | None = Field(
        default=None,
        description="What sends webhooks: a deployment of its own, or the ingresses; off: nothing, and none "
        "are taken. Unset: what the environment's file says.",
    )
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Hosts and networks (CIDR) that webhooks may reach although they are not on the public "
        "internet, on any port; with commas between them. *.example.org: all names that end like it.",
    )
    webhook_ports: Annotated[tuple[int, ...], NoDecode] = Field(
        default=(80, 443), description="Ports that webhooks may go to on the public internet."
    )
    webhook_ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) that webhooks trust beside the usual ones."
    )
    webhook_timeout_s: float = Field(default=15, gt=0, le=60, description="Of one try of a webhook.")
    webhook_retries_s: Annotated[tuple[float, ...], NoDecode] = Field(
        # 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: as the Standard Webhooks propose.
        default=(5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
        description="After each failed try of a webhook, how long until the next; then it has failed.",
    )
    webhook_concurrency: int = Field(
        default=128, ge=1, description="Webhooks that one process sends at a time."
    )
    webhook_host_concurrency: int = Field(
        default=8, ge=1, description="Of these, how many go to the same host and port."
    )
    webhook_max_bytes: int = Field(
        default=256 * 1024, ge=4096, description="A webhook that would be larger leaves the result out."
    )
    webhook_max_endpoints: int = Field(default=50, ge=0, description="Endpoints that a tenant may have.")
    webhook_retention_days: int = Field(
        default=30, ge=1, description="Days after which deliveries that have ended are forgotten."
    )
    torch_threads: int = Field(default=1, ge=1, description="Threads of torch in each CPU replica.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("webhook_allow", "webhook_ports", "webhook_retries_s", "allowed_origins", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("models_path", mode="before")
    @classmethod
    def _split_models_path(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        # Absolute, as what was started here may run in another folder.
        return tuple(Path(part).expanduser().absolute() for part in value.split(os.pathsep) if part)

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """Where models are looked for: `models/` of the root, then the folders of `models_path`."""
        return (self.root / "models", *self.models_path)

    def model_configs(self, folder: Path) -> Path:
        """Where the configs of the models in `folder` lie, as `NAME.yaml`."""
        at_home = folder.resolve() == (self.root / "models").resolve()
        return self.root / "configs" / "models" if at_home else folder / "configs"

    def deploys(self, name: str, enabled: bool) -> bool:
        """Whether a model is to be deployed.

        Args:
            name: of the model.
            enabled: what its config says.
        """
        names = self.model_names
        return name in names or "all" in names if names else enabled

    @property
    def model_names(self) -> list[str]:
        """The names in `models`."""
        return [name.strip() for name in (self.models or "").split(",") if name.strip()]

    @property
    def api_url(self) -> str:
        """The base URL of the API."""
        return self.url or f"http://{self.http_host}:{self.http_port}"

    @property
    def api_key_value(self) -> str | None:
        """The key to call the API with, in the clear."""
        return self.api_key.get_secret_value() if self.api_key else None
