"""What the client answers with: the documents of the API as small classes, field by field.

Fields are named as in the API. What this version does not know is left out, and what an older server does not
say is None.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID

from satellite.client.wire import encode, to_error
from satellite.errors import JobNotFinished
from satellite.status import JobStatus

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job did not succeed."""

    code: str
    title: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A job that was accepted. It is committed; what is told of it is as of that moment."""

    job_id: UUID
    status: JobStatus
    model_name: str
    created_at: datetime
    requested_version: str | None = None
    queue_position: int | None = None  # how many jobs come before it
    eta_s: float | None = None  # in how many seconds it will probably have ended
    parent_id: UUID | None = None  # the job it repeats
    replayed: bool = False  # its idempotency key had made it before


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A job as it is now, or the answer of a predict. `result["forecast"]` reads from its `output`."""

    job_id: UUID | None = None  # None: it is not stored
    status: JobStatus
    model_name: str
    model_version: str | None = None  # the version that ran
    result: dict[str, Any] | None = None  # the model's Output, once the job has succeeded
    error: JobError | None = None
    attempt: int = 1
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def output(self) -> dict[str, Any]:
        """The model's Output.

        Raises:
            SatelliteError: the job's own error (`ModelFailed`, `ReplicaDied`, `Cancelled` and so on).
            JobNotFinished: it has not ended.
        """
        if self.result is not None:
            return self.result
        if self.error is not None:
            raise to_error({"code": self.error.code, "title": self.error.title, "detail": self.error.detail})
        raise JobNotFinished(f"the job is {self.status}: wait for it with result(job_id, wait_s=...)")

    def __getitem__(self, name: str) -> Any:
        return self.output[name]

    def to_frame(self, index: Any = None) -> pd.DataFrame:
        """The output as a table: a row per step of a forecast, or per point.

        Every list of the output is a column, and so is every list in an object, under its own name: a
        forecast has `forecast`, and its quantiles `0.1`, `0.5`, `0.9`. What is no list, or not as long as the
        first one, is in the frame's `attrs`.

        Args:
            index: of the rows, such as a `DatetimeIndex`; None: 1, 2 and so on, the steps.

        Raises:
            SatelliteError: see `output`.
            ImportError: pandas is not installed.
        """
        import pandas as pd

        found: dict[str, Any] = {}
        for name, value in self.output.items():
            found |= cast("dict[str, Any]", value) if isinstance(value, dict) else {name: value}
        lists = {name: cast("list[Any]", value) for name, value in found.items() if isinstance(value, list)}
        rows = len(next(iter(lists.values()), []))
        columns = {name: value for name, value in lists.items() if len(value) == rows}
        steps = pd.RangeIndex(1, rows + 1, name="step") if index is None else index
        table = pd.DataFrame(columns, index=steps)
        table.attrs = {name: value for name, value in found.items() if name not in columns}
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """A job without its payloads."""

    job_id: UUID
    status: JobStatus
    model_name: str
    created_at: datetime
    requested_version: str | None = None
    model_version: str | None = None
    priority: int = 4
    labels: dict[str, str] | None = None
    attempt: int = 1
    max_attempts: int | None = None
    error: JobError | None = None
    run_at: datetime | None = None
    deadline_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    parent_id: UUID | None = None
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt of a job."""

    attempt: int
    started_at: datetime | None = None
    ended_at: datetime | None = None
    code: str | None = None  # why it did not end the job
    detail: str | None = None
    replica_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDetail(JobSummary):
    """Everything that is stored of a job."""

    data: Any = None
    config: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    attempts: tuple[Attempt, ...] = ()  # those that did not end it
    queue_position: int | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The batch a job was computed in."""

    batch_id: UUID
    size: int
    flush_reason: str
    left_because: str
    mates: tuple[UUID, ...] = ()  # the other jobs in it
    replica_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where a job's time went, and why."""

    job_id: UUID
    model_name: str
    model_version: str | None = None
    status: JobStatus
    summary: str  # one sentence
    total_s: float
    parts_s: dict[str, float]  # they sum to `total_s`
    batch: Batch | None = None
    attempt: int = 1
    max_attempts: int | None = None
    attempts: tuple[Attempt, ...] = ()
    priority: int = 4
    run_at: datetime | None = None
    deadline_at: datetime | None = None
    cancel_requested: bool = False
    queue_position: int | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One step of a job."""

    id: str  # a stream goes on after it
    job_id: UUID
    model_name: str
    status: JobStatus
    attempt: int
    at: datetime
    job: Result | None = None  # with the last step, in the stream of one job


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model and its deployment."""

    name: str
    version: str  # the one that answers where none is named
    versions: tuple[str, ...] = ()
    description: str = ""
    state: str = ""
    message: str = ""
    replicas: dict[str, int] | None = None
    waiting: int = 0
    batching: dict[str, Any] | None = None
    autoscaling: dict[str, Any] | None = None
    resources: dict[str, Any] | None = None
    input_schema: dict[str, Any] | None = None
    config_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    example: dict[str, Any] | None = None


def read(cls: type[T], document: Mapping[str, Any]) -> T:
    """One of these classes, from a document of the API.

    Raises:
        TypeError: the document lacks what the class cannot do without.
    """
    values: dict[str, Any] = {}
    for known in fields(cast("Any", cls)):
        value = document.get(known.name)
        if value is None:
            if known.default is MISSING and known.name in document:
                values[known.name] = None
            continue
        convert = _CONVERTERS.get(known.name)
        if known.name.endswith("_at") or known.name == "at":
            convert = datetime.fromisoformat
        values[known.name] = value if convert is None else convert(value)
    return cls(**values)


def document(found: Any) -> dict[str, Any]:
    """One of these classes as JSON values, in the form of the API."""
    return json.loads(encode(asdict(found)))


def _attempts(value: list[dict[str, Any]]) -> tuple[Attempt, ...]:
    return tuple(read(Attempt, entry) for entry in value)


# A name means the same in every document of the API, so what it is read as goes by its name.
_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "job_id": UUID,
    "parent_id": UUID,
    "batch_id": UUID,
    "status": JobStatus,
    "error": lambda value: read(JobError, value),
    "job": lambda value: read(Result, value),
    "batch": lambda value: read(Batch, value),
    "attempts": _attempts,
    "mates": lambda value: tuple(map(UUID, value)),
    "versions": tuple,
}
