"""The commands that talk to the API: submit, result, predict, models."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any, cast

from rich.table import Table

from satellite.cli.console import CommandFailed, console, print_json
from satellite.client import Client, Model, Result, Submitted
from satellite.client.async_client import PREFIX
from satellite.client.results import document, read
from satellite.errors import ConfigError
from satellite.settings import Settings
from satellite.status import JobStatus

Json = dict[str, Any]
CALL_TIMEOUT_S = 15


def open_client(settings: Settings) -> Client:
    """The API, for one command: a person reads its errors, who would rather not wait for further tries."""
    return Client(settings.api_url, api_key=settings.api_key_value, timeout_s=CALL_TIMEOUT_S, retry=False)


def parse_data(text: str) -> list[Any]:
    """The numbers named by `--data`.

    Args:
        text: `1,2,3`, a JSON array, `@file` (CSV: its last column; or JSON), or `-` for standard input.

    Raises:
        ConfigError: it is none of these.
    """
    if text == "-":
        return _parse_text(sys.stdin.read(), "standard input")
    if text.startswith("@"):
        path = Path(text[1:])
        try:
            return _parse_text(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"--data {text}: {exc}") from None
    return _parse_text(text, "--data")


def _parse_text(text: str, source: str) -> list[Any]:
    stripped = text.strip()
    if stripped.startswith("["):
        try:
            return cast("list[Any]", json.loads(stripped))
        except ValueError as exc:
            raise ConfigError(f"{source} is not JSON: {exc}") from None
    rows = [row for row in csv.reader(stripped.splitlines()) if row]
    if not rows:
        raise ConfigError(f"{source} holds no numbers.")
    cells = rows[0] if len(rows) == 1 else [row[-1] for row in rows]
    if len(rows) > 1 and not _is_number(cells[0]):
        cells = cells[1:]
    for line, cell in enumerate(cells, start=1):
        if not _is_number(cell):
            raise ConfigError(f"{source}: {cell.strip()!r} (value {line}) is not a number.")
    return [float(cell) for cell in cells]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_config(pairs: list[str]) -> Json:
    """`key=value` pairs: numbers, booleans and other JSON become what they say, all else stays text.

    Raises:
        ConfigError: a pair has no `=`.
    """
    config: Json = {}
    for name, value in _split(pairs, "--config", "forecast_steps=24"):
        try:
            config[name] = json.loads(value)
        except ValueError:
            config[name] = value
    return config


def parse_labels(pairs: list[str]) -> dict[str, str]:
    """`key=value` pairs, all of them texts.

    Raises:
        ConfigError: a pair has no `=`.
    """
    return dict(_split(pairs, "--label", "device=a1"))


def _split(pairs: list[str], option: str, example: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"{option} {pair!r}: write key=value, such as {option} {example}")
        found.append((name, value))
    return found


def submit(
    settings: Settings,
    model: str,
    data: str,
    pairs: list[str],
    *,
    wait: bool,
    job_fields: Json | None = None,
    idempotency_key: str | None = None,
    as_json: bool = False,
) -> None:
    """Submits a job; prints its id, or its result.

    Args:
        settings: where the API is.
        model: the model's name.
        data: see `parse_data`.
        pairs: the model's config, see `parse_config`.
        wait: for the result.
        job_fields: what is asked of the job beside its input; what is None is left out.
        idempotency_key: sent again with it, it is the same job.
        as_json: print all that the API answers.
    """
    # In the form of the API: a model's config may have the names of the client's own parameters.
    body = {"model_name": model, "data": parse_data(data), "config": parse_config(pairs)}
    body |= {name: value for name, value in (job_fields or {}).items() if value is not None}
    with open_client(settings) as client:
        answer = client.request(
            "POST", f"{PREFIX}/inference/submit", body=body, idempotency_key=idempotency_key
        )
        submitted = read(Submitted, answer)
        if wait:
            _print_answer(client.result(submitted, wait_s=None))
        elif as_json:
            print_json(answer)
        else:
            print(submitted.job_id)


def result(settings: Settings, job_id: str, *, wait_s: float) -> None:
    """Prints one job."""
    with open_client(settings) as client:
        _print_answer(client.result(job_id, wait_s=wait_s))


def predict(
    settings: Settings, model: str, data: str, pairs: list[str], *, version: str | None = None
) -> None:
    """Runs a model now; `version`: which of its versions, if not the default."""
    body = {"model_name": model, "data": parse_data(data), "config": parse_config(pairs)}
    if version is not None:
        body["model_version"] = version
    with open_client(settings) as client:
        answer = client.request(
            "POST", f"{PREFIX}/inference/predict", body=body, wait_s=settings.predict_wait_s
        )
    _print_answer(read(Result, answer))


def _print_answer(answer: Result) -> None:
    """JSON on standard output, so that it can be piped; a job without success ends with an error too."""
    print_json(document(answer))
    check_success(answer)


def check_success(answer: Result) -> None:
    """Whether a job that has ended has succeeded.

    Raises:
        CommandFailed: it has not.
    """
    if answer.status.is_terminal and answer.status is not JobStatus.SUCCEEDED:
        detail = answer.error.detail if answer.error is not None else ""
        raise CommandFailed(f"The job {answer.status}: {detail}")


def models(settings: Settings, *, as_json: bool) -> None:
    """Prints the models as a table."""
    with open_client(settings) as client:
        found = client.models()
    if as_json:
        print_json([document(model) for model in found])
    else:
        console.print(_model_table(found))


def _model_table(models: list[Model]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("Model", "Version", "State", "Replicas", "Description"):
        table.add_column(title, overflow="fold")
    for model in models:
        replicas = ", ".join(f"{state} {count}" for state, count in (model.replicas or {}).items())
        about = model.description.strip().split("\n", 1)[0]
        table.add_row(model.name, model.version, model.state, replicas, about)
    return table
