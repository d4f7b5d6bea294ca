"""What the person at the terminal sees: one console, and the shape of every foreseen error."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from satellite.errors import ConfigError, EnvironmentProblem, SatelliteError, Unauthenticated, Unreached
from satellite.settings import Settings

# Piped into a file or a log there is no width to keep to, and nothing must be cut off.
_WIDTH = None if sys.stdout.isatty() else 160
# No emoji: Ray's own names, such as `ServeReplica:satellite:Ingress`, would turn into some.
console = Console(highlight=False, width=_WIDTH, emoji=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

EXIT_FAILED = 1
EXIT_CANNOT_START = 2
EXIT_NOT_RUNNING = 3
EXIT_INTERRUPTED = 130


class CommandFailed(SatelliteError):
    """A command could not do what it was asked for; the message says all there is to say."""

    code, title = "command_failed", "The command failed"


def fail(message: str) -> None:
    """Prints one error line; what it says to do is part of the message."""
    errors.print(f"[bold red]error:[/] {escape(message)}")


def note(message: str) -> None:
    """Prints something the reader should not miss, but that stops nothing."""
    errors.print(f"[yellow]note:[/] {escape(message)}")


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        ConfigError: a variable does not validate; one line per problem.
    """
    try:
        # The fields come from the environment, which a type checker cannot know.
        return Settings()  # pyright: ignore[reportCallIssue]
    except ValidationError as exc:
        lines = [
            f"SATELLITE_{'_'.join(str(part) for part in problem['loc']).upper()}"
            f"{'' if _is_secret(problem['loc']) else '=' + repr(problem.get('input'))}: {problem['msg']}"
            for problem in exc.errors()
        ]
        raise ConfigError("\n".join(lines)) from None


def _is_secret(place: tuple[int | str, ...]) -> bool:
    """Whether the setting at this place is one that is not to be shown."""
    field = Settings.model_fields.get(str(place[0]))
    return field is not None and "SecretStr" in str(field.annotation)


@contextmanager
def foreseen_errors(*, as_json: bool = False) -> Generator[None]:
    """Turns foreseen errors into one line each and an exit code; anything else keeps its traceback.

    Args:
        as_json: nothing but JSON goes to standard output, and an error is told as JSON too.
    """
    quiet, console.quiet = console.quiet, as_json or console.quiet
    try:
        yield
    except SatelliteError as exc:
        _tell(exc, as_json=as_json)
        raise typer.Exit(_exit_code(exc)) from None
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("satellite"):
            raise
        missing = EnvironmentProblem(
            f"This command needs what runs a system, and {exc.name} is missing: "
            "pip install 'satellite[server]'"
        )
        _tell(missing, as_json=as_json)
        raise typer.Exit(EXIT_CANNOT_START) from None
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    finally:
        console.quiet = quiet


def print_json(found: Any) -> None:
    """Prints what a program reads."""
    print(json.dumps(found, indent=1, default=str), flush=True)


def _exit_code(error: SatelliteError) -> int:
    if isinstance(error, ConfigError | EnvironmentProblem):
        return EXIT_CANNOT_START
    return EXIT_NOT_RUNNING if isinstance(error, Unreached) else EXIT_FAILED


def _tell(error: SatelliteError, *, as_json: bool) -> None:
    entries = error.errors or []
    if as_json:
        told = {"code": error.code, "title": error.title, "detail": error.detail, "errors": entries}
        errors.print(json.dumps(told), markup=False)
        return
    detail = error.detail
    if isinstance(error, Unreached):
        detail += ": start the system with `satellite up`, or say where it is with SATELLITE_URL"
    if isinstance(error, ConfigError | EnvironmentProblem):
        lines = detail.splitlines()
    elif isinstance(error, CommandFailed):
        lines = [detail]
    else:
        lines = [f"{error.title}: {detail}" if detail else error.title]
    for line in lines:
        fail(line)
    if isinstance(error, Unauthenticated):
        note("The commands call with the key in SATELLITE_API_KEY; `satellite keys create` makes one.")
    for entry in entries:
        # Many details already name their first error.
        if entry["detail"] not in detail:
            errors.print(f"  {entry['pointer']}: {entry['detail']}", markup=False)
