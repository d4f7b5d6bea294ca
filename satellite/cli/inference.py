"""The commands that talk to the API: submit, result, predict, models."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import httpx
from rich.table import Table

from satellite.cli.console import CommandFailed, console
from satellite.errors import ConfigError, SatelliteError
from satellite.jobs import JobStatus
from satellite.settings import Settings

Json = dict[str, Any]
# Longer than any wait the server grants in one call.
SLACK_S = 15
POLL_WAIT_S = 10
FINAL = frozenset(status for status in JobStatus if status.is_terminal)


class Refused(SatelliteError):
    """The API answered with a problem; its own title and detail are shown."""

    def __init__(self, problem: Json) -> None:
        # `foreseen_errors` prints title and detail; the API's title takes the place of this class's.
        super().__init__(str(problem.get("detail") or ""))
        self.title = str(problem.get("title") or "Error")  # pyright: ignore[reportAttributeAccessIssue]
        entries = cast("list[Json]", problem.get("errors") or [])
        for entry in entries:
            # Many details already name their first error.
            if str(entry.get("detail", "")) not in self.detail:
                self.detail += f"\n  {entry.get('pointer', '')}: {entry.get('detail', '')}"


class Api:
    """The HTTP API. Close it, or use it in `with`.

    Args:
        url: base address, without a path.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=SLACK_S, trust_env=_is_remote(url))

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        params: Json | None = None,
        headers: dict[str, str] | None = None,
        wait_s: float = 0,
    ) -> Json:
        """One call.

        Args:
            method: GET or POST.
            path: after the base address.
            body: sent as JSON.
            params: of the query; a list is sent as several, None not at all.
            headers: beside the usual ones.
            wait_s: for how long the server may take.

        Raises:
            CommandFailed: nobody answers.
            Refused: the API answered with a problem.
        """
        try:
            answer = self._client.request(
                method,
                path,
                json=body,
                params={name: value for name, value in (params or {}).items() if value is not None},
                headers=headers,
                timeout=wait_s + SLACK_S,
            )
        except httpx.HTTPError as exc:
            raise CommandFailed(
                f"No answer from {self.url} ({exc or type(exc).__name__}): start it with `satellite up`."
            ) from None
        try:
            document: object = answer.json()
        except ValueError:
            document = {"title": f"HTTP {answer.status_code}", "detail": answer.text[:300]}
        if not isinstance(document, dict):
            raise Refused(
                {"title": "Unexpected answer", "detail": f"{path} did not answer with a JSON object."}
            )
        if not answer.is_success:
            raise Refused(cast("Json", document))
        return cast("Json", document)

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()


def _is_remote(url: str) -> bool:
    """A proxy set for the internet must not catch loopback calls."""
    return httpx.URL(url).host not in ("127.0.0.1", "localhost", "::1")


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
    """
    body = {"model_name": model, "data": parse_data(data), "config": parse_config(pairs)}
    body |= {name: value for name, value in (job_fields or {}).items() if value is not None}
    headers = None if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    with Api(settings.api_url) as api:
        job = api.call("POST", "/api/v1/inference/submit", body=body, headers=headers)
        if not wait:
            print(job["job_id"])
            return
        while (answer := fetch_result(api, job["job_id"], wait_s=POLL_WAIT_S))["status"] not in FINAL:
            pass
    _print_answer(answer)


def fetch_result(api: Api, job_id: str, *, wait_s: float) -> Json:
    """The job as it is after at most `wait_s` seconds."""
    return api.call("GET", f"/api/v1/inference/result/{job_id}?wait_s={wait_s:g}", wait_s=wait_s)


def result(settings: Settings, job_id: str, *, wait_s: float) -> None:
    """Prints one job."""
    with Api(settings.api_url) as api:
        answer = fetch_result(api, job_id, wait_s=wait_s)
    _print_answer(answer)


def predict(
    settings: Settings, model: str, data: str, pairs: list[str], *, version: str | None = None
) -> None:
    """Runs a model now; `version`: which of its versions, if not the default."""
    body = {"model_name": model, "data": parse_data(data), "config": parse_config(pairs)}
    if version is not None:
        body["model_version"] = version
    wait_s = settings.predict_wait_s
    with Api(settings.api_url) as api:
        answer = api.call("POST", "/api/v1/inference/predict", body=body, wait_s=wait_s)
    _print_answer(answer)


def _print_answer(answer: Json) -> None:
    """JSON on standard output, so that it can be piped; a job without success ends with an error too."""
    print(json.dumps(answer, indent=1))
    if answer.get("status") in FINAL - {"succeeded"}:
        error = cast("Json", answer.get("error") or {})
        raise Refused({"title": f"The job {answer['status']}", "detail": error.get("detail", "")})


def models(settings: Settings) -> None:
    """Prints the models as a table."""
    with Api(settings.api_url) as api:
        found = cast("list[Json]", api.call("GET", "/api/v1/models")["models"])
    table = Table(box=None, pad_edge=False)
    for title in ("Model", "Version", "State", "Replicas", "Description"):
        table.add_column(title, overflow="fold")
    for model in found:
        cells = [model.get(name) for name in ("name", "version", "state", "replicas")]
        about = str(model.get("description") or "").strip().split("\n", 1)[0]
        table.add_row(*("" if cell is None else _cell(cell) for cell in cells), about)
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in cast("Json", value).items())
    return str(value)
