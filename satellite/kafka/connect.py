"""How to reach the brokers, and what the topics are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kafka.net.compat import KafkaNetClient

from satellite.errors import ConfigError
from satellite.settings import Settings

# A broker that does not answer for so long is away.
REQUEST_TIMEOUT_MS = 10_000
BOOTSTRAP_TIMEOUT_MS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The names of the topics, and of the consumer group."""

    prefix: str

    @property
    def group(self) -> str:
        """The consumer group of all replicas."""
        return self.prefix

    @property
    def jobs(self) -> str:
        """Requests for jobs come in here."""
        return f"{self.prefix}.jobs"

    @property
    def rejected(self) -> str:
        """What cannot be a job."""
        return f"{self.prefix}.rejected"

    @property
    def results(self) -> str:
        """Jobs that have ended."""
        return f"{self.prefix}.results"

    @property
    def events(self) -> str:
        """Every step of every job."""
        return f"{self.prefix}.events"


def client_options(settings: Settings) -> dict[str, Any]:
    """What every client of kafka-python is made with.

    Raises:
        ConfigError: Kafka is not configured.
    """
    if settings.kafka_bootstrap is None:
        raise ConfigError("SATELLITE_KAFKA_BOOTSTRAP is not set: host:port of a Kafka broker")
    options: dict[str, Any] = {
        "bootstrap_servers": [part.strip() for part in settings.kafka_bootstrap.split(",") if part.strip()],
        "client_id": "satellite",
        "security_protocol": settings.kafka_security,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
        # A restarted broker is to be found again at once, not after half a minute.
        "reconnect_backoff_max_ms": 1000,
    }
    if settings.kafka_security.startswith("SASL"):
        if settings.kafka_username is None or settings.kafka_password is None:
            raise ConfigError(
                f"SATELLITE_KAFKA_SECURITY={settings.kafka_security} needs SATELLITE_KAFKA_USERNAME and "
                "SATELLITE_KAFKA_PASSWORD"
            )
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    files = {
        "ssl_cafile": settings.kafka_ca,
        "ssl_certfile": settings.kafka_certificate,
        "ssl_keyfile": settings.kafka_key,
    }
    return options | {name: str(path) for name, path in files.items() if path is not None}


def connect(kind: Callable[..., Any], options: dict[str, Any]) -> Any:
    """Make a client of kafka-python: a consumer, a producer or an admin.

    One that does not reach its brokers leaves a thread and its sockets behind; here they are closed.

    Raises:
        KafkaError: the brokers do not answer.
    """
    made: list[KafkaNetClient] = []

    def network(**config: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**config))
        return made[0]

    try:
        return kind(**options, kafka_client=network)
    except BaseException:
        for client in made:
            client.close()
        raise
