"""The commands on jobs that exist: jobs, explain, cancel, retry."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

from rich.table import Table
from rich.text import Text

from satellite.cli.console import CommandFailed, console, fail
from satellite.cli.inference import Api, Json
from satellite.cli.status import duration
from satellite.errors import ConfigError
from satellite.settings import Settings

# What the API gives in one page.
PAGE = 500
BAR_WIDTH = 40

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
    filters = {"model_name": model, "status": statuses, "label": labels}
    jobs: list[Json] = []
    cursor: str | None = None
    with Api(settings.api_url) as api:
        while len(jobs) < limit:
            asked = {**filters, "limit": min(PAGE, limit - len(jobs)), "cursor": cursor}
            page = api.call("GET", "/api/v1/jobs", params=asked)
            jobs += cast("list[Json]", page["jobs"])
            cursor = page["next_cursor"]
            if cursor is None:
                break
    if as_json:
        print(json.dumps(jobs, indent=1))
    elif not jobs:
        console.print("No such jobs.")
    else:
        console.print(_job_table(jobs, datetime.now(UTC)))
        if cursor is not None:
            console.print(f"These are the newest {len(jobs)}; there are more (--limit).")


def _job_table(jobs: list[Json], now: datetime) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("Job", "Model", "Status", "Attempt", "Priority", "Age", "Took", ""):
        table.add_column(
            title, justify="right" if title in ("Attempt", "Priority", "Age", "Took") else "left"
        )
    for job in jobs:
        created_at = datetime.fromisoformat(job["created_at"])
        finished_at = job["finished_at"] and datetime.fromisoformat(job["finished_at"])
        notes = [f"{name}={value}" for name, value in cast("Json", job["labels"]).items()]
        if job["error"]:
            notes.insert(0, str(job["error"]["code"]))
        table.add_row(
            job["job_id"],
            job["model_name"],
            Text(job["status"], _COLOURS.get(job["status"], "")),
            f"{job['attempt']} of {job['max_attempts']}",
            str(job["priority"]),
            seconds((now - created_at).total_seconds()),
            seconds((finished_at - created_at).total_seconds()) if finished_at else "",
            Text(" ".join(notes), "dim"),
        )
    return table


def explain(settings: Settings, job_id: str, *, as_json: bool) -> None:
    """Prints where a job's time went, and why."""
    with Api(settings.api_url) as api:
        found = api.call("GET", f"/api/v1/jobs/{job_id}/explain")
    if as_json:
        print(json.dumps(found, indent=1))
        return
    console.print(f"{found['job_id']} ({found['model_name']})", markup=False)
    console.print(found["summary"], markup=False, soft_wrap=True)
    console.print()
    console.print(_bars(found["parts_s"]))
    batch: Json | None = found["batch"]
    if batch is not None:
        size, mates = batch["size"], len(batch["mates"])
        console.print()
        console.print(
            f"Batch {batch['batch_id']} on replica {batch['replica_id']}: "
            + (f"{size} requests, {mates} of them other jobs." if size > 1 else "this job alone.")
            + f" Flush reason: {batch['flush_reason']}.",
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
        table.add_row(name.replace("_", " "), seconds(took_s), bar(took_s / whole_s, BAR_WIDTH))
    return table


def bar(share: float, width: int) -> str:
    """A bar of full and partial blocks. `share` is from 0 to 1; what is not nothing is seen."""
    eighths = round(share * width * 8)
    full, rest = divmod(max(eighths, 1) if share > 0 else 0, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")


def _attempts(found: Json) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in (f"Attempt (of {found['max_attempts']})", "Took", "Ended", "Replica"):
        table.add_column(title)
    attempts = cast("list[Json]", found["attempts"])
    for attempt in attempts:
        began, ended = (
            attempt[name] and datetime.fromisoformat(attempt[name]) for name in ("started_at", "ended_at")
        )
        last = attempt is attempts[-1]
        came = found["status"] if last else f"{attempt['code']}: {attempt['detail']}"
        took = seconds((ended - began).total_seconds()) if began and ended else ""
        table.add_row(str(attempt["attempt"]), took, Text(came), attempt["replica_id"] or "")
    return table


def cancel(settings: Settings, job_id: str) -> None:
    """Cancels a job."""
    with Api(settings.api_url) as api:
        job = api.call("POST", f"/api/v1/jobs/{job_id}/cancel", wait_s=10)
    if job["status"] == "cancelled":
        console.print("Cancelled.")
    else:
        console.print(
            f"Asked for: the job is {job['status']}, and the ingress that holds it has not answered yet."
        )


def retry(settings: Settings, job_id: str) -> None:
    """Repeats a job that has ended; prints the new job's id."""
    with Api(settings.api_url) as api:
        print(api.call("POST", f"/api/v1/jobs/{job_id}/retry", body={})["job_id"])


def retry_dead(settings: Settings, *, model: str | None, error_code: str | None, limit: int | None) -> None:
    """Repeats dead jobs that have not been repeated yet, oldest first; prints old and new id of each.

    Raises:
        CommandFailed: some could not be repeated.
    """
    asked: Json = {"model_name": model, "error_code": error_code, "limit": limit}
    body = {name: value for name, value in asked.items() if value is not None}
    with Api(settings.api_url) as api:
        answer = api.call("POST", "/api/v1/jobs/retry", body=body, wait_s=30)
    refused = 0
    for item in cast("list[dict[str, Any]]", answer["items"]):
        if "job_id" in item:
            print(item["parent_id"], item["job_id"])
        else:
            refused += 1
            fail(f"{item['parent_id']}: {item['problem']['title']}: {item['problem']['detail']}")
    if refused:
        raise CommandFailed(f"{refused} of {len(answer['items'])} jobs were not repeated.")
    console.print(f"Repeated {answer['replayed']} dead jobs." if answer["items"] else "No such dead jobs.")


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


def seconds(value: float) -> str:
    """A short time span for people: `4 ms`, `2.1 s`, `12 min`, `3 h 5 min`."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 120 else duration(value)
