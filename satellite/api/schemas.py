"""The answers of the API, for its documentation. The hot paths write these shapes themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired", "dead"]

_JOB_ID = "0193f3a2-6c1e-7b52-9d5e-3c1f0a2b4c5d"


class ProblemEntry(BaseModel):
    """One place in the request that does not fit."""

    pointer: str = Field(description="JSON pointer (RFC 6901) to the place.", examples=["/data/3"])
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:satellite:problem:model_not_found",
                "title": "No such model",
                "status": 404,
                "detail": "there is no model 'lstm_timeserie'; did you mean 'lstm_timeseries'?",
                "code": "model_not_found",
                "request_id": "6f1d7e0a4c2b4f0c9a51",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str = Field(description="What happened and what to do.")
    code: str = Field(description="Stable: decide by this, not by the text.")
    request_id: str | None
    errors: list[ProblemEntry] | None = None
    retry_after_s: int | None = None


class Me(BaseModel):
    """Whom a call is made for."""

    tenant: str
    scopes: list[Literal["read", "submit", "admin"]]
    keys: Literal["on", "off"] = Field(description="off: everybody is the tenant `default`.")
    key_id: str | None
    key_name: str | None
    expires_at: datetime | None


class Ticket(BaseModel):
    """What stands for a key in an address."""

    ticket: str
    expires_at: datetime


class Links(BaseModel):
    """Where to go on."""

    result: str
    wait: str
    job: str
    explain: str
    cancel: str
    model: str
    events: str


class Accepted(BaseModel):
    """A job was stored."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "job_id": _JOB_ID,
                "status": "queued",
                "model_name": "lstm_timeseries",
                "requested_version": "1.0.0",
                "created_at": "2026-01-05T12:00:00.123Z",
                "queue_position": 3,
                "eta_s": 2.014,
                "links": {
                    "result": f"/api/v1/inference/result/{_JOB_ID}",
                    "wait": f"/api/v1/inference/result/{_JOB_ID}?wait_s=30",
                    "job": f"/api/v1/jobs/{_JOB_ID}",
                    "explain": f"/api/v1/jobs/{_JOB_ID}/explain",
                    "cancel": f"/api/v1/jobs/{_JOB_ID}/cancel",
                    "model": "/api/v1/models/lstm_timeseries",
                    "events": f"/api/v1/events?job_id={_JOB_ID}",
                },
            }
        }
    )

    job_id: UUID
    status: Status
    model_name: str
    requested_version: str | None = Field(description="The version that it runs on; null: the only one.")
    created_at: datetime
    queue_position: int | None = Field(description="How many jobs of its model come before it.")
    eta_s: float | None = Field(
        description="In how many seconds it will probably have ended; null: not known yet."
    )
    parent_id: UUID | None = Field(None, description="The job it repeats.")
    links: Links


class BatchVerdict(BaseModel):
    """What became of one item: a job, or a problem."""

    index: int
    status_code: int = Field(description="202, or the status of the problem.")
    job_id: UUID | None = None
    replayed: bool | None = Field(None, description="Its idempotency key had made this job before.")
    problem: Problem | None = None


class BatchVerdicts(BaseModel):
    """A verdict for each item, in order."""

    accepted: int
    rejected: int
    items: list[BatchVerdict]


class JobError(BaseModel):
    """Why a job failed."""

    code: str
    title: str
    detail: str


class JobResult(BaseModel):
    """A job as it is now."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "job_id": _JOB_ID,
                "status": "succeeded",
                "model_name": "moving_average",
                "model_version": "1.0.0",
                "result": {"forecast": [3.19, 3.19]},
                "error": None,
                "attempt": 1,
                "created_at": "2026-01-05T12:00:00.123Z",
                "started_at": "2026-01-05T12:00:02.125Z",
                "finished_at": "2026-01-05T12:00:02.131Z",
            }
        }
    )

    job_id: UUID | None = Field(description="null for a predict that was not stored.")
    status: Status
    model_name: str
    model_version: str | None = Field(description="The version that ran.")
    result: dict[str, Any] | None = Field(description="The model's Output, once the job has succeeded.")
    error: JobError | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobSummary(BaseModel):
    """A job without its payloads."""

    job_id: UUID
    status: Status
    model_name: str
    requested_version: str | None = Field(description="The version to run; null: the only one.")
    model_version: str | None = Field(description="The version that ran.")
    priority: int
    labels: dict[str, str]
    attempt: int
    max_attempts: int
    error: JobError | None
    created_at: datetime
    run_at: datetime
    deadline_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    parent_id: UUID | None
    cancel_requested: bool
    batch_size: int | None = Field(description="How many requests were in the batch that it was computed in.")


class JobPage(BaseModel):
    """One page of jobs, newest first."""

    jobs: list[JobSummary]
    next_cursor: UUID | None = Field(description="Pass it on as `cursor`; null: this was the last page.")


class Attempt(BaseModel):
    """One attempt of a job."""

    attempt: int
    started_at: datetime | None
    ended_at: datetime | None
    code: str | None = Field(description="Why it did not end the job.")
    detail: str | None
    replica_id: str | None


class JobDetail(JobSummary):
    """Everything that is stored of a job."""

    data: Any
    config: dict[str, Any]
    result: dict[str, Any] | None
    attempts: list[Attempt] = Field(description="The attempts that did not end it.")
    queue_position: int | None
    eta_s: float | None


class BatchInfo(BaseModel):
    """The batch a job was computed in."""

    batch_id: UUID
    size: int = Field(description="Requests in it, synchronous ones too.")
    flush_reason: Literal["full", "timer", "deadline", "flush", "drain"]
    left_because: str
    mates: list[UUID] = Field(description="The other jobs in it.")
    replica_id: str | None


class Explanation(BaseModel):
    """Where a job's time went, and why."""

    job_id: UUID
    model_name: str
    model_version: str | None = Field(description="The version that ran, or is to.")
    status: Status
    summary: str = Field(description="One sentence in plain words.")
    total_s: float
    parts_s: dict[str, float] = Field(
        description="They sum to `total_s`: admission, delay or earlier_attempts, queue, version_load (if it "
        "waited for one), batch_fill, compute, recording."
    )
    batch: BatchInfo | None
    attempt: int
    max_attempts: int
    attempts: list[Attempt]
    priority: int
    run_at: datetime
    deadline_at: datetime | None
    cancel_requested: bool
    queue_position: int | None
    eta_s: float | None


class Replay(BaseModel):
    """What became of one dead job."""

    parent_id: UUID
    job_id: UUID | None = None
    problem: Problem | None = None


class Replays(BaseModel):
    """The dead jobs that were repeated."""

    replayed: int
    remaining: int = Field(
        description="How many that fit the request were not. To replay all, call again until `replayed` is 0."
    )
    items: list[Replay]


class CancelVerdict(BaseModel):
    """What became of one job that was to be cancelled."""

    job_id: UUID
    status: Status | None = Field(None, description="`cancelled`; another: it was asked for.")
    problem: Problem | None = Field(None, description="Why it cannot be cancelled.")


class Cancels(BaseModel):
    """What became of each job, in order."""

    cancelled: int
    items: list[CancelVerdict]


class DeadJob(JobSummary):
    """A dead job, with the attempts before its last."""

    attempts: list[Attempt]


class DeadLetterGroup(BaseModel):
    """Dead jobs of a model that died of the same error and have not been repeated yet."""

    model_name: str
    error_code: str
    count: int
    oldest_at: datetime = Field(description="When the first of them died.")
    newest_at: datetime
    example: DeadJob = Field(description="The newest of them.")


class DeadLetters(BaseModel):
    """The dead jobs that have not been repeated yet, by model and error; the largest group first."""

    groups: list[DeadLetterGroup]


class JobEventMessage(BaseModel):
    """One step of a job, as server-sent events and the WebSocket carry it."""

    type: Literal["job"]
    id: str = Field(description="Send the last one back to go on after it.")
    job_id: UUID
    model_name: str
    status: Status
    attempt: int
    at: datetime
    job: JobResult | None = Field(description="The whole job, with its last step, in the stream of one job.")


class VersionInfo(BaseModel):
    """A version of a model."""

    version: str
    default: bool = Field(description="It answers where none is named.")
    created: datetime | None
    size_bytes: int | None
    format: str | None = Field(description="null: the model has no artifacts.")
    metrics: dict[str, Any] = Field(description="As whoever made it measured them.")
    problem: str | None = Field(description="Why it cannot be used.")
    loaded_in: list[str] = Field(description="The replicas that have it loaded, those that answered.")


class DefaultChange(BaseModel):
    """A change of a model's default version."""

    version: str
    set_at: datetime
    undone_at: datetime | None = Field(description="When it was rolled back; null: it was not.")


class VersionCache(BaseModel):
    """The replicas' caches of loaded versions, since each of them started."""

    max_loaded_versions: int = Field(description="So many a replica keeps.")
    hits: int = Field(description="Uses of a version that was loaded, summed over the replicas.")
    misses: int = Field(description="Uses that waited for their version to be loaded.")
    evictions: int = Field(description="Versions that made room for others.")


class VersionsInfo(BaseModel):
    """The versions of a model."""

    default: str = Field(description="The version that answers where none is named.")
    history: list[DefaultChange] = Field(description="The last changes of the default, newest first.")
    versions: list[VersionInfo] = Field(description="Oldest first.")
    cache: VersionCache


class LoadedInfo(BaseModel):
    """On how many replicas something was done."""

    version: str
    replicas: int


class ModelInfo(BaseModel):
    """A model and its deployment."""

    name: str
    version: str = Field(description="The version that answers where none is named.")
    versions: list[str] = Field(description="All versions, oldest first; see `/versions`.")
    description: str
    state: str = Field(description="The deployment's state as Ray Serve reports it.", examples=["HEALTHY"])
    message: str
    replicas: dict[str, int] = Field(description="By replica state.", examples=[{"RUNNING": 1}])
    waiting: int = Field(description="Requests that wait in the queue of the ingress that answers.")
    batching: dict[str, Any]
    autoscaling: dict[str, Any] = Field(description="Ray Serve's AutoscalingConfig, as set.")
    resources: dict[str, Any] = Field(description="What one replica asks Ray for.")
    input_schema: dict[str, Any] = Field(description="JSON Schema of `data`.")
    config_schema: dict[str, Any] = Field(description="JSON Schema of `config`.")
    output_schema: dict[str, Any] = Field(description="JSON Schema of `result`.")
    example: dict[str, Any] = Field(description="A whole request body that works.")


class ModelList(BaseModel):
    """All models."""

    models: list[ModelInfo]


class PartHealth(BaseModel):
    """One part of the system."""

    state: Literal["ok", "degraded", "down"]
    latency_ms: float | None = None
    detail: str | None = None


class Health(BaseModel):
    """The state of every part. `accepting` is what the HTTP status says: 200 or 503."""

    state: Literal["ok", "degraded", "down"]
    accepting: bool
    parts: dict[str, PartHealth]


class Alive(BaseModel):
    """This process answers."""

    state: Literal["ok"] = "ok"
