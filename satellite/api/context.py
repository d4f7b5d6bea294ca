"""What the routes work with, found on the application that serves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import HTTPConnection

from satellite.control import JobControl
from satellite.service import Service
from satellite.settings import Settings
from satellite.watching import Watching


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentState:
    """A model's deployment as the cluster reports it."""

    state: str  # HEALTHY, UPDATING, UNHEALTHY, ... or UNKNOWN
    message: str
    replicas: Mapping[str, int]  # by replica state: RUNNING, STARTING, ...

    @property
    def running(self) -> int:
        """How many replicas can take work."""
        return self.replicas.get("RUNNING", 0)

    @property
    def sleeps(self) -> bool:
        """Whether it is as it should be, and should have no replica now."""
        return self.state == "HEALTHY" and not self.replicas


class Cluster(Protocol):
    """What the API asks of the cluster it runs on."""

    def deployments(self) -> Mapping[str, DeploymentState]:
        """The deployments by name, as last seen."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """The parts an application is made of."""

    service: Service
    watching: Watching
    control: JobControl
    settings: Settings
    cluster: Cluster
    details: Mapping[str, Mapping[str, Any]]  # per model: what its deployment was configured with


def context_of(connection: HTTPConnection) -> ApiContext:
    """The context of the application that serves this request or socket."""
    return connection.app.state.context
