"""What the routes work with, found on the application that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.requests import HTTPConnection

from satellite.access.access import Access
from satellite.access.callers import Caller
from satellite.control import JobControl
from satellite.errors import SatelliteError, Unauthenticated
from satellite.overview import Overview
from satellite.service import Service
from satellite.settings import Settings
from satellite.tasks import Pace
from satellite.watching import Watching
from satellite.webhooks.control import WebhookControl

# Where the guard puts who calls, and for a socket why nobody may.
CALLER = "satellite.caller"
REFUSED = "satellite.refused"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """A GPU as its node reports it; None is what it does not report."""

    name: str
    utilization_percent: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A machine of the cluster; None is what it does not report."""

    node_id: str
    address: str
    alive: bool
    head: bool
    cpu_percent: float | None = None  # of all its CPUs
    cpus: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    gpus: Sequence[GpuState] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaState:
    """A process that runs a model."""

    model_name: str
    replica_id: str
    state: str  # RUNNING, STARTING, ...
    node_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """The machines of the cluster, and what runs where."""

    nodes: Sequence[NodeState] = ()
    replicas: Sequence[ReplicaState] = ()
    ingresses: int = 0  # running ones
    dashboard_url: str | None = None


class Cluster(Protocol):
    """What the API asks of the cluster it runs on."""

    async def look(self) -> ClusterState:
        """The cluster as it is, or was a few seconds ago: however many ask, it is looked at now and then."""
        ...

    def deployments(self) -> Mapping[str, DeploymentState]:
        """The deployments by name, as last seen."""
        ...


@dataclass(slots=True)
class Load:
    """What an ingress holds for its callers at the moment."""

    bodies_bytes: int = 0  # of requests that came in more than one piece
    sockets: int = 0
    decompressing: asyncio.Lock = field(default_factory=asyncio.Lock)  # one at a time: a processor is left
    refused: dict[str, Pace] = field(default_factory=dict[str, Pace])  # see `reading.Held`, by tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiContext:
    """The parts an application is made of."""

    service: Service
    access: Access
    watching: Watching
    control: JobControl
    webhooks: WebhookControl
    settings: Settings
    overview: Overview
    cluster: Cluster
    details: Mapping[str, Mapping[str, Any]]  # per model: what its deployment was configured with
    load: Load = field(default_factory=Load)
    # Further parts of `/health`, by name. None of them keeps jobs from being accepted.
    probes: Mapping[str, Callable[[], Awaitable[dict[str, Any]]]] = field(default_factory=dict[str, Any])


def context_of(connection: HTTPConnection) -> ApiContext:
    """The context of the application that serves this request or socket."""
    return connection.app.state.context


def caller_of(connection: HTTPConnection) -> Caller:
    """Who makes this call.

    Raises:
        Unauthenticated: nobody has said so. The guard lets no such call come here.
    """
    caller = possible_caller(connection)
    if caller is None:
        raise Unauthenticated("this needs an API key")
    return caller


def possible_caller(connection: HTTPConnection) -> Caller | None:
    """Who makes this call, if it is known: what is open to all need not be told."""
    return connection.scope.get(CALLER)


def refusal_of(connection: HTTPConnection) -> SatelliteError | None:
    """Why nobody may use this socket, if so."""
    return connection.scope.get(REFUSED)
