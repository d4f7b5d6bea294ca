"""`satellite batch`: every line of a file as a job, and its result in another file, once, kills or not.

The results' file is the memory of a run. What stands there is done; a line that was being written when the
command was killed is cut off. All else is submitted, with a key made of the file's digest and the line's
`custom_id`: what an earlier run has submitted is that same job, so nothing is computed twice.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from satellite.cli.console import CommandFailed, console, print_json
from satellite.cli.inference import Json
from satellite.client import AsyncClient, JobStatus
from satellite.client.results import document
from satellite.client.spread import as_they_end, progress_bar
from satellite.errors import ConfigError
from satellite.settings import Settings

OPTIONS = ("model_version", "priority", "deadline_s", "run_at", "labels", "max_attempts")
KNOWN = ("custom_id", "model_name", "data", "config", *OPTIONS)
MAX_ID = 200
# How each of the lines begins that this command writes.
BEGINNING = b'{"custom_id": "'
# So many mistakes are told at once.
SHOWN = 10
# An outage of this length is sat out; started again, the command goes on where it was.
TIMEOUT_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """A file of requests that has been checked."""

    file: Path
    model: str | None  # for lines that name none
    digest: str
    count: int

    def requests(self) -> Iterator[tuple[str, Json]]:
        """Each line's id and request, in order."""
        with self.file.open("rb") as file:
            for line in file:
                if line.strip():
                    request: Json = json.loads(line)
                    custom_id = request.pop("custom_id")
                    yield custom_id, {"model_name": self.model, **request}

    def key(self, custom_id: str) -> str:
        """The idempotency key of a line: the same whenever this file is submitted."""
        return f"batch-{self.digest[:32]}-{hashlib.sha256(custom_id.encode()).hexdigest()[:32]}"


def run(
    settings: Settings, file: Path, output: Path, *, model: str | None, concurrency: int, as_json: bool
) -> None:
    """Submits what has no result yet, and writes the results as they come.

    Args:
        settings: where the API is.
        file: one JSON object a line.
        output: the results, one JSON object a line.
        model: for lines without `model_name`.
        concurrency: jobs under way at a time.
        as_json: print the counts as JSON, and no bar.

    Raises:
        ConfigError: a line is not a request; nothing was submitted.
        CommandFailed: not every job succeeded, or another run writes to `output`.
    """
    lines = check(file, model)
    with _open(output) as results:
        done = read_results(results)
        kept = len(done)
        asyncio.run(_run(settings, lines, results, done, concurrency=concurrency, quiet=as_json))
    counts = {status: list(done.values()).count(status) for status in sorted(set(done.values()))}
    if as_json:
        print_json({"lines": lines.count, "kept": kept, "output": str(output), **counts})
    told = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
    console.print(
        f"{lines.count} lines, {kept} of them done before: {told}. Results: {output}", soft_wrap=True
    )
    if lost := sum(status != JobStatus.SUCCEEDED for status in done.values()):
        raise CommandFailed(f"{lost} of {len(done)} did not succeed: their lines in {output} say why.")


def check(file: Path, model: str | None) -> Lines:
    """Reads the whole file once, so that a mistake in its last line costs nothing.

    Raises:
        ConfigError: the file cannot be read, or lines of it are no requests.
    """
    digest, problems = hashlib.sha256(), list[str]()
    seen: dict[str, int] = {}
    try:
        with file.open("rb") as opened:
            for number, line in enumerate(opened, start=1):
                digest.update(line)
                if line.strip() and (problem := _problem(line, number, model, seen)):
                    problems.append(f"{file}, line {number}: {problem}")
    except OSError as exc:
        raise ConfigError(f"{file}: {exc.strerror}") from None
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise ConfigError("\n".join([*problems[:SHOWN], *more, "Nothing was submitted."]))
    return Lines(file=file, model=model, digest=digest.hexdigest(), count=len(seen))


def _problem(line: bytes, number: int, model: str | None, seen: dict[str, int]) -> str | None:
    try:
        request: object = json.loads(line)
    except ValueError as exc:
        return f"not JSON: {exc}"
    if not isinstance(request, dict):
        return f"must be an object with {', '.join(KNOWN)}"
    fields = cast("Json", request)
    custom_id = fields.get("custom_id")
    if not (isinstance(custom_id, str) and 1 <= len(custom_id) <= MAX_ID):
        return f"custom_id must be a text of 1 to {MAX_ID} characters"
    if (before := seen.setdefault(custom_id, number)) != number:
        return f"custom_id {custom_id!r} is that of line {before}, too"
    if unknown := [name for name in fields if name not in KNOWN]:
        return f"unknown key {unknown[0]!r}; known keys: {', '.join(KNOWN)}"
    if not isinstance(fields.get("model_name", model), str):
        return "model_name is missing, and there is no --model"
    if "data" not in fields:
        return "data is missing"
    return None


def _open(output: Path) -> BinaryIO:
    try:
        results = output.open("a+b")
    except OSError as exc:
        raise ConfigError(f"{output}: {exc.strerror}") from None
    try:
        fcntl.flock(results, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        results.close()
        raise CommandFailed(f"Another `satellite batch` writes to {output}: wait for it.") from None
    return results


def read_results(results: BinaryIO) -> dict[str, str]:
    """What stands in a file of results: for each custom_id its status. A torn last line is cut off.

    Raises:
        ConfigError: it holds something else; it is left as it is.
    """
    results.seek(0)
    done: dict[str, str] = {}
    whole = 0
    for number, line in enumerate(results, start=1):
        if not line.endswith(b"\n") and (line.startswith(BEGINNING) or BEGINNING.startswith(line)):
            break
        try:
            found: Json = json.loads(line)
            done[found["custom_id"]] = found["status"]
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{results.name}, line {number}: not a result of `satellite batch`; name another file"
            ) from None
        whole += len(line)
    results.truncate(whole)
    return done


async def _run(
    settings: Settings,
    lines: Lines,
    results: BinaryIO,
    done: dict[str, str],
    *,
    concurrency: int,
    quiet: bool,
) -> None:
    bar = nullcontext(lambda: None) if quiet else progress_bar("jobs", lines.count, done=len(done))
    async with AsyncClient(settings.api_url, api_key=settings.api_key_value, timeout_s=TIMEOUT_S) as client:

        async def one(line: tuple[str, Json]) -> tuple[str, Json]:
            custom_id, request = line
            return custom_id, document(await client.run(request, idempotency_key=lines.key(custom_id)))

        left = (line for line in lines.requests() if line[0] not in done)
        with bar as advance:
            async with aclosing(as_they_end(one, left, concurrency)) as ended:
                async for custom_id, result in ended:
                    line: dict[str, Any] = {"custom_id": custom_id, **result}
                    results.write(json.dumps(line).encode() + b"\n")
                    results.flush()
                    done[custom_id] = result["status"]
                    advance()
