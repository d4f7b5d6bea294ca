"""The shapes of the overview and of the WebSocket's messages, for the documentation."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from satellite.api.schemas import Accepted, JobEventMessage, Problem, Status


class ModelHistory(BaseModel):
    """A model over time: one value for each step of `at`."""

    submitted: list[int] = Field(description="Jobs made durable in the step.")
    succeeded: list[int] = Field(description="Jobs that ended so in the step.")
    failed: list[int] = Field(description="Jobs that ended `failed`, `dead` or `expired` in the step.")
    predicted: list[int] = Field(description="Synchronous requests that were answered in the step.")
    waiting: list[int] = Field(description="Requests that waited at its end, wherever.")
    batches: list[int] = Field(description="Batches that were computed in the step.")
    batch_size: list[float | None] = Field(description="Requests in one, on average; null: there was none.")
    wait_p50_s: list[float | None] = Field(description="From when a request could run to its batch.")
    wait_p95_s: list[float | None]
    compute_p50_s: list[float | None] = Field(description="How long a batch computed.")
    compute_p95_s: list[float | None]


class OverviewHistory(BaseModel):
    """The last hour, oldest first. Steps in which no ingress counted are left out."""

    at: list[datetime] = Field(description="When each step began.")
    models: dict[str, ModelHistory]


class ModelSample(BaseModel):
    """A model in the last seconds."""

    submitted: int
    succeeded: int
    failed: int
    predicted: int
    waiting: int
    batches: int
    batch_size: float | None
    wait_p50_s: float | None
    wait_p95_s: float | None
    compute_p50_s: float | None
    compute_p95_s: float | None
    replicas: int = Field(description="Running ones.")
    oldest_s: float | None = Field(description="Since when the oldest that waits could run; null: none does.")


class Sample(BaseModel):
    """What was counted in the last seconds, on all ingresses."""

    at: datetime
    span_s: float = Field(description="Counts are of so many seconds, up to `at`.")
    models: dict[str, ModelSample]


class Gpu(BaseModel):
    """A GPU."""

    name: str
    utilization_percent: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None


class Node(BaseModel):
    """A machine of the cluster. What it does not report is null."""

    node_id: str
    address: str
    alive: bool
    head: bool
    cpu_percent: float | None = Field(description="Of all its CPUs.")
    cpus: int | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    gpus: list[Gpu]


class Replica(BaseModel):
    """A process that runs a model."""

    model_name: str
    replica_id: str
    state: str = Field(description="As Ray Serve reports it.", examples=["RUNNING"])
    node_id: str | None


class ClusterInfo(BaseModel):
    """The cluster as it was at most a few seconds ago."""

    nodes: list[Node]
    replicas: list[Replica]
    ingresses: int = Field(description="Running ones.")
    dashboard_url: str | None = Field(description="Ray's dashboard, as nodes of the cluster reach it.")


class Overview(BaseModel):
    """How all models do."""

    step_s: int
    complete: bool = Field(
        description="False: Redis does not answer, and this is what the ingress that answers has counted."
    )
    history: OverviewHistory
    now: Sample
    cluster: ClusterInfo


class WsJob(JobEventMessage):
    """One step of a job: of `{"subscribe": {"job_id"}}`, `{"model_name"}` or `{"all": true}`."""


class WsModel(BaseModel):
    """A model as it is: the first message of `{"subscribe": {"model_name"}}`."""

    type: Literal["model"]
    name: str
    version: str
    state: str
    message: str
    replicas: dict[str, int]
    waiting: int


class WsAccepted(Accepted):
    """A job was stored: the answer to `submit`."""

    type: Literal["accepted"]
    replayed: bool = Field(description="Its idempotency key had made this job before.")
    ref: Any = None


class WsOverview(BaseModel):
    """Every 2 s, for `{"subscribe": {"overview": true}}`."""

    type: Literal["overview"]
    now: Sample
    cluster: ClusterInfo
    complete: bool = Field(description="As in GET /api/v1/overview.")


class ChangedJob(BaseModel):
    """Where a job has come to."""

    job_id: UUID
    model_name: str
    status: Status


class WsChanges(BaseModel):
    """At most once a second, for `{"subscribe": {"changes": true}}`: the jobs that changed."""

    type: Literal["changes"]
    id: str = Field(description="Subscribe with it as `after` to go on from here.")
    steps: list[ChangedJob] = Field(
        max_length=500, description="The newest step of each, oldest first; the newest 500."
    )
    more: bool = Field(description="Other jobs changed, too: read the list again.")


class WsUnsubscribed(BaseModel):
    """The answer to `unsubscribe`, with what it was about."""

    type: Literal["unsubscribed"]
    ref: Any = None


class WsAuthenticated(BaseModel):
    """The answer to `authenticate`: whom the socket speaks for."""

    type: Literal["authenticated"]
    tenant: str
    scopes: list[Literal["read", "submit", "admin"]]
    ref: Any = None


class WsPong(BaseModel):
    """The answer to `ping`."""

    type: Literal["pong"]
    ping: Any
    ref: Any = None


class WsPing(BaseModel):
    """Nothing else was sent for a while."""

    type: Literal["ping"]


class WsProblem(Problem):
    """An error (RFC 9457). Its `type` says what message this is; the problem's own is `problem_type`."""

    type: Literal["problem"]  # pyright: ignore[reportIncompatibleVariableOverride]
    problem_type: str
    ref: Any = Field(None, description="Of the message it answers.")
    subscription: str | None = Field(
        None, description="The subscription that it has ended: `changes`, `overview`, `job:ID`, `model:NAME`."
    )


# What the server sends, told apart by `type`.
MESSAGES: tuple[type[BaseModel], ...] = (
    WsJob,
    WsModel,
    WsAccepted,
    WsOverview,
    WsChanges,
    WsUnsubscribed,
    WsAuthenticated,
    WsPong,
    WsPing,
    WsProblem,
)
