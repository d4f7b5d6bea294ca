"""Commands that have models run: a job, a prediction, a file of jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from satellite.cli.commands.options import AsJson, Data, JobId, Pairs, Version
from satellite.cli.console import foreseen_errors, load_settings


def submit(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    data: Data,
    config: Pairs = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result.")] = False,
    priority: Annotated[
        int | None, typer.Option(min=0, max=9, help="9 is the most urgent; default: 4.")
    ] = None,
    deadline_s: Annotated[
        float | None, typer.Option("--deadline-s", help="Seconds: if it has not started by then, it expires.")
    ] = None,
    run_at: Annotated[
        str | None, typer.Option("--run-at", help="Not before this time, such as 2026-01-05T12:00:00Z.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="`key=value`, to find it by; may be repeated.")
    ] = None,
    max_attempts: Annotated[
        int | None,
        typer.Option("--max-attempts", min=1, max=20, help="Default: what the model's config says."),
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="Sent again with this key, it is the same job.")
    ] = None,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Submit a job; prints its id, or with --wait its result."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import inference

        inference.submit(
            load_settings(),
            model,
            data,
            config or [],
            wait=wait,
            job_fields={
                "model_version": version,
                "priority": priority,
                "deadline_s": deadline_s,
                "run_at": run_at,
                "labels": inference.parse_labels(label) if label else None,
                "max_attempts": max_attempts,
            },
            idempotency_key=idempotency_key,
            as_json=as_json,
        )


def result(
    job_id: JobId,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0, help="Seconds to wait for the end of the job.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Print a job's status and result as JSON. Exit code 1: it ended without success."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import inference

        inference.result(load_settings(), job_id, wait_s=wait_s)


def predict(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    data: Data,
    config: Pairs = None,
    version: Version = None,
    as_json: AsJson = False,
) -> None:
    """Run a model now and print its result as JSON."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import inference

        inference.predict(load_settings(), model, data, config or [], version=version)


def batch(
    file: Annotated[
        Path, typer.Argument(help="One JSON object a line: custom_id, model_name, data, config ...")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The results, one JSON object a line.")],
    model: Annotated[str | None, typer.Option("--model", help="For lines without model_name.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Jobs under way at a time.")] = 32,
    as_json: AsJson = False,
) -> None:
    """Run every line of a file as a job. Started again after a kill, it goes on where it was."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import batch as action

        action.run(load_settings(), file, output, model=model, concurrency=concurrency, as_json=as_json)
