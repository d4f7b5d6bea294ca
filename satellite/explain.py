"""Why a job took as long as it did: where the time went, why its batch left, and that in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from satellite.batching import FlushReason
from satellite.config import ModelConfig
from satellite.errors import VersionFailed
from satellite.jobs import Job, JobStatus, public_attempts


def parts(job: Job, now: datetime) -> dict[str, float]:
    """Where the time went, in seconds. The parts sum to the whole, from `created_at` to its end, or now.

    Each part is measured, but for two: `recording` (or, while it has not ended, `so_far`) is what the others
    leave.
    """
    end = job.finished_at or now
    whole_s = max(0.0, (end - job.created_at).total_seconds())
    run = job.run
    admission_s = (run and run.admission_s) or 0.0
    # A first attempt waits for its `run_at`; the `run_at` of a later one is the end of its backoff.
    before_s = 0.0
    if job.run_at is not None:
        before_s = (min(job.run_at, end) - job.created_at).total_seconds() - admission_s
    measured = {
        "admission": admission_s,
        "delay" if job.attempt == 1 else "earlier_attempts": before_s,
        "queue": (run and run.queue_s) or 0.0,
        **({"version_load": run.load_s} if run and run.load_s else {}),
        "batch_fill": (run and run.fill_s) or 0.0,
        "compute": (run and run.compute_s) or 0.0,
    }
    found: dict[str, float] = {}
    left_s = whole_s
    for name, took_s in measured.items():
        found[name] = round(min(max(took_s, 0.0), left_s), 6)
        left_s -= found[name]
    computed = run is not None and run.compute_s is not None
    last = "recording" if computed else "queue" if job.finished_at else "so_far"
    found[last] = round(found.get(last, 0.0) + max(0.0, left_s), 6)
    return found


def explain(
    job: Job,
    *,
    config: ModelConfig | None,
    mates: Sequence[UUID],
    queue_position: int | None = None,
    eta_s: float | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """The answer of `GET /api/v1/jobs/{job_id}/explain`.

    Args:
        job: the job, with its run.
        config: its model's settings; None if there is no such model any more.
        mates: the other jobs of its batch.
        queue_position: how many jobs come before it, if it waits.
        eta_s: in how many seconds it will probably have ended, if it waits.
        now: the present, for a job that has not ended.
    """
    now = now or datetime.now(UTC)
    took = parts(job, now)
    run = job.run
    error: dict[str, Any] = orjson.loads(job.error) if job.error else {}
    current: dict[str, Any] = {
        "attempt": job.attempt,
        "started_at": job.started_at,
        "ended_at": job.finished_at,
        "code": error.get("code"),
        "detail": error.get("detail"),
        "replica_id": run and run.replica_id,
    }
    return {
        "job_id": str(job.job_id),
        "model_name": job.model_name,
        "model_version": job.model_version or job.requested_version,
        "status": job.status,
        "summary": _summary(job, took, config, eta_s),
        "total_s": round(sum(took.values()), 6),
        "parts_s": took,
        "batch": None
        if run is None or run.batch_id is None
        else {
            "batch_id": str(run.batch_id),
            "size": run.batch_size,
            "flush_reason": run.flush_reason,
            "left_because": _left_because(run.flush_reason, config),
            "mates": [str(mate) for mate in mates],
            "replica_id": run.replica_id,
        },
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "attempts": [*public_attempts(job), current],
        "priority": job.priority,
        "run_at": job.run_at,
        "deadline_at": job.deadline_at,
        "cancel_requested": job.cancel_requested,
        "queue_position": queue_position,
        "eta_s": eta_s,
    }


def _left_because(reason: str | None, config: ModelConfig | None) -> str:
    size = config.batching.max_batch_size if config else "max_batch_size"
    window_s = f"{config.batching.batch_wait_timeout_s:g} s" if config else "the batch window"
    return {
        FlushReason.FULL: f"it held {size} requests",
        FlushReason.TIMER: f"its oldest request had waited {window_s}",
        FlushReason.DEADLINE: "waiting longer would have missed a deadline",
        FlushReason.FLUSH: "a request in it must not wait or must run alone, or the model flushes when idle",
        FlushReason.DRAIN: "the ingress was about to stop",
    }.get(FlushReason(reason) if reason else FlushReason.FLUSH, "")


_SPENT_ON = {
    "admission": "being validated and stored",
    "delay": "waiting for the moment it was asked to run at",
    "earlier_attempts": "earlier attempts and the pauses after them",
    "queue": "waiting for a free replica",
    "version_load": "waiting for its version of the model to be loaded",
    "batch_fill": "waiting for its batch to fill",
    "compute": "being computed",
    "recording": "having its result recorded",
    "so_far": "waiting",
}


def _summary(job: Job, took: dict[str, float], config: ModelConfig | None, eta_s: float | None) -> str:
    total_s = sum(took.values())
    if not job.status.is_terminal:
        state = {JobStatus.QUEUED: "waits", JobStatus.RUNNING: "is being computed"}[job.status]
        ends = "" if eta_s is None else f"; it will probably have ended in {_seconds(eta_s)}"
        return f"The job {state}, {_seconds(total_s)} after it was submitted{ends}."
    name, longest_s = max(took.items(), key=lambda item: item[1])
    ended = {
        JobStatus.SUCCEEDED: "succeeded",
        JobStatus.FAILED: "failed: its version of the model could not be loaded"
        if job.error and orjson.loads(job.error).get("code") == VersionFailed.code
        else "failed: the model refused it or raised an error",
        JobStatus.CANCELLED: "was cancelled",
        JobStatus.EXPIRED: "expired: it could not start before its deadline",
        JobStatus.DEAD: f"is dead: none of its {job.attempt} attempts came to an end",
    }[job.status]
    text = f"It {ended} after {_seconds(total_s)}, {_seconds(longest_s)} of it {_SPENT_ON[name]}"
    run = job.run
    if run is not None and run.load_s and name != "version_load":
        text += f", and {_seconds(run.load_s)} {_SPENT_ON['version_load']}"
    if run is not None and run.batch_id is not None and run.batch_size is not None:
        others = run.batch_size - 1
        company = {0: "alone", 1: "with one other"}.get(others, f"with {others} others")
        why = _left_because(run.flush_reason, config)
        version = f" by version {job.model_version}" if job.requested_version else ""
        text += f"; it was computed{version} {company}, in a batch that left because {why}"
    if job.attempt > 1 and job.status is not JobStatus.DEAD:
        text += f"; it took {job.attempt} attempts"
    return text + "."


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
