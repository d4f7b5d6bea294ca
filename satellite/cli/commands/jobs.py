"""Commands about jobs that are there already."""

from __future__ import annotations

from typing import Annotated

import typer

from satellite.cli.commands.options import AsJson, JobId
from satellite.cli.console import foreseen_errors, load_settings


def jobs(
    model: Annotated[str | None, typer.Option("--model", help="Only of this model.")] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Only in this state; may be repeated.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Only with `key=value`; repeated: with all of them.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Jobs at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import jobs as view

        view.list_jobs(
            load_settings(),
            model=model,
            statuses=status or [],
            labels=label or [],
            limit=limit,
            as_json=as_json,
        )


def explain(job_id: JobId, as_json: AsJson = False) -> None:
    """Show where a job's time went, why its batch left, and its attempts."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import jobs as view

        view.explain(load_settings(), job_id, as_json=as_json)


def cancel(job_id: JobId, as_json: AsJson = False) -> None:
    """Cancel a job. One that waits never runs; of one that runs the result is discarded."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import jobs as action

        action.cancel(load_settings(), job_id, as_json=as_json)


def retry(
    job_id: Annotated[str | None, typer.Argument(help="A job that has ended.")] = None,
    dead: Annotated[
        bool, typer.Option("--dead", help="All dead jobs not repeated yet, oldest first.")
    ] = False,
    model: Annotated[str | None, typer.Option("--model", help="With --dead: only of this model.")] = None,
    error_code: Annotated[
        str | None,
        typer.Option("--error-code", help="With --dead: only with this error, such as replica_died."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, max=1000, help="With --dead: so many at most; default: 100."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Repeat a job as a new one, and print its id; or with --dead many, and print old and new id of each."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import jobs as action

        settings = load_settings()
        action.check_retry(job_id, dead=dead, filtered=bool(model or error_code or limit))
        if job_id is not None:
            action.retry(settings, job_id, as_json=as_json)
        else:
            action.retry_dead(settings, model=model, error_code=error_code, limit=limit, as_json=as_json)
