"""The commands on jobs that exist: jobs, explain, cancel, retry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from rich.table import Table
from rich.text import Text

from satellite.cli.console import CommandFailed, console, fail, print_json
from satellite.cli.inference import Json, open_client, parse_labels
from satellite.cli.units import short_duration
from satellite.client import Explanation, JobStatus, JobSummary
from satellite.client.results import document
from satellite.errors import ConfigError
from satellite.settings import Settings

BAR_WIDTH = 40
REPLAY_WAIT_S = 30

_COLOURS = {
    "succeeded": "green",
    "running": "cyan",
    "failed": "red",
    "dead": "red",
    "expired": "yellow",
    "cancelled": "yellow",
}


def list_jobs(
    settings: Settings,
    *,
    model: str | None,
    statuses: list[str],
    labels: list[str],
    limit: int,
    as_json: bool,
) -> None:
    """Prints the newest jobs that fit."""
    with open_client(settings) as client:
        # One more tells whether there are more.
        jobs = [*client.jobs(model_name=model, status=statuses, labels=parse_labels(labels), limit=limit + 1)]
    more, jobs = len(jobs) > limit, jobs[:limit]
    if as_json:
        print_json([document(job) for job in jobs])
    elif not jobs:
        console.print("No such jobs.")
    else:
        console.print(_job_table(jobs, datetime.now(UTC)))
        if more:
            console.print(f"These are the newest {len(jobs)}; there are more (--limit).")


def _job_table(jobs: list[JobSummary], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("Job", "Model", "Status", "Attempt", "Priority", "Age", "Took", ""):
        table.add_column(
            title, justify="right" if title in ("Attempt", "Priority", "Age", "Took") else "left"
        )
    for job in jobs:
        notes = [f"{name}={value}" for name, value in (job.labels or {}).items()]
        if job.error:
            notes.insert(0, job.error.code)
        took_s = (job.finished_at - job.created_at).total_seconds() if job.finished_at else None
        table.add_row(
            str(job.job_id),
            job.model_name,
            Text(job.status, _COLOURS.get(job.status, "")),
            f"{job.attempt} of {job.max_attempts}",
            str(job.priority),
            short_duration((now - job.created_at).total_seconds()),
            "" if took_s is None else short_duration(took_s),
            Text(" ".join(notes), "dim"),
        )
    return table


def explain(settings: Settings, job_id: str, *, as_json: bool) -> None:
    """Prints where a job's time went, and why."""
    with open_client(settings) as client:
        found = client.explain(job_id)
    if as_json:
        print_json(document(found))
        return
    console.print(f"{found.job_id} ({found.model_name})", markup=False)
    console.print(found.summary, markup=False, soft_wrap=True)
    console.print()
    console.print(_bars(found.parts_s))
    if (batch := found.batch) is not None:
        console.print()
        console.print(
            f"Batch {batch.batch_id} on replica {batch.replica_id}: "
            + (
                f"{batch.size} requests, {len(batch.mates)} of them other jobs."
                if batch.size > 1
                else "this job alone."
            )
            + f" Flush reason: {batch.flush_reason}.",
            markup=False,
            soft_wrap=True,
        )
    console.print()
    console.print(_attempts(found))


def _bars(parts_s: dict[str, float]) -> Table:
    whole_s = sum(parts_s.values()) or 1.0
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for name, took_s in parts_s.items():
        table.add_row(name.replace("_", " "), short_duration(took_s), bar(took_s / whole_s, BAR_WIDTH))
    return table


def bar(share: float, width: int) -> str:
    """A bar of full and partial blocks. `share` is from 0 to 1; what is not nothing is seen."""
    eighths = round(share * width * 8)
    full, rest = divmod(max(eighths, 1) if share > 0 else 0, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def _attempts(found: Explanation) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in (f"Attempt (of {found.max_attempts})", "Took", "Ended", "Replica"):
        table.add_column(title)
    for attempt in found.attempts:
        began, ended = attempt.started_at, attempt.ended_at
        last = attempt is found.attempts[-1]
        came = found.status if last else f"{attempt.code}: {attempt.detail}"
        took = short_duration((ended - began).total_seconds()) if began and ended else ""
        table.add_row(str(attempt.attempt), took, Text(came), attempt.replica_id or "")
    return table


def cancel(settings: Settings, job_id: str, *, as_json: bool) -> None:
    """Cancels a job."""
    with open_client(settings) as client:
        job = client.cancel(job_id)
    if as_json:
        print_json(document(job))
    elif job.status is JobStatus.CANCELLED:
        console.print("Cancelled.")
    else:
        console.print(
            f"Asked for: the job is {job.status}, and the ingress that holds it has not answered yet."
        )


def retry(settings: Settings, job_id: str, *, as_json: bool) -> None:
    """Repeats a job that has ended; prints the new job's id."""
    with open_client(settings) as client:
        submitted = client.retry(job_id)
    if as_json:
        print_json(document(submitted))
    else:
        print(submitted.job_id)


def retry_dead(
    settings: Settings, *, model: str | None, error_code: str | None, limit: int | None, as_json: bool
) -> None:
    """Repeats dead jobs that have not been repeated yet, oldest first; prints old and new id of each.

    Raises:
        CommandFailed: some could not be repeated.
    """
    asked: Json = {"model_name": model, "error_code": error_code, "limit": limit}
    body = {name: value for name, value in asked.items() if value is not None}
    with open_client(settings) as client:
        answer = client.request("POST", "/api/v1/jobs/retry", body=body, wait_s=REPLAY_WAIT_S)
    items = cast("list[Json]", answer["items"])
    refused = [item for item in items if "problem" in item]
    if as_json:
        print_json(answer)
    else:
        for item in items:
            if "job_id" in item:
                print(item["parent_id"], item["job_id"])
        for item in refused:
            fail(f"{item['parent_id']}: {item['problem']['title']}: {item['problem']['detail']}")
    if refused:
        raise CommandFailed(f"{len(refused)} of {len(items)} jobs were not repeated.")
    if not as_json:
        console.print(f"Repeated {answer['replayed']} dead jobs." if items else "No such dead jobs.")


def check_retry(job_id: str | None, *, dead: bool, filtered: bool) -> None:
    """Whether `retry` was told what to repeat.

    Raises:
        ConfigError: it was not.
    """
    if (job_id is None) is not dead:
        raise ConfigError(
            "Name one job, or all dead ones with --dead: `satellite retry ID` or `retry --dead`."
        )
    if filtered and not dead:
        raise ConfigError("--model, --error-code and --limit choose among dead jobs: add --dead.")
