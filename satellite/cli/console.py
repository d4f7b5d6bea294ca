"""What the person at the terminal sees: one console, and the shape of every foreseen error."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from satellite.errors import ConfigError, EnvironmentProblem, SatelliteError
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
            f"SATELLITE_{'_'.join(str(part) for part in problem['loc']).upper()}={problem.get('input')!r}: "
            f"{problem['msg']}"
            for problem in exc.errors()
        ]
        raise ConfigError("\n".join(lines)) from None


@contextmanager
def foreseen_errors() -> Generator[None]:
    """Turns foreseen errors into one line each and an exit code; anything else keeps its traceback."""
    try:
        yield
    except (ConfigError, EnvironmentProblem) as exc:
        for line in str(exc).splitlines():
            fail(line)
        raise typer.Exit(EXIT_CANNOT_START) from None
    except CommandFailed as exc:
        fail(str(exc))
        raise typer.Exit(EXIT_FAILED) from None
    except SatelliteError as exc:
        fail(f"{exc.title}: {exc.detail}" if exc.detail else exc.title)
        raise typer.Exit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
