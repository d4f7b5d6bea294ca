"""Commands about models and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from satellite.cli.commands.options import AsJson
from satellite.cli.console import foreseen_errors, load_settings


def models(as_json: AsJson = False) -> None:
    """List the models that are deployed."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import inference

        inference.models(load_settings(), as_json=as_json)


def new_model(
    name: Annotated[str, typer.Argument(help="What callers will put in `model_name`.")],
    into: Annotated[
        Path | None,
        typer.Option(
            help="Folder; default: the first of SATELLITE_MODELS_PATH, else models/ of this checkout."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a model that works, its test and its config, for you to change."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import new_model as action

        action.create(load_settings(), name, into, as_json=as_json)


def check_model(
    name: Annotated[str, typer.Argument(help="The model's name, or its file `x.py`.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: AsJson = False,
) -> None:
    """Hold a model to its contract, and measure it. Exit code 0: it holds, 1: it does not."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import check_model as view

        raise typer.Exit(view.run(load_settings(), name, device=device, as_json=as_json))


def versions(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    default: Annotated[
        str | None, typer.Option("--set-default", help="Let this version answer where none is named.")
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the default before the last change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List a model's versions; with an option, change which of them is the default first."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import versions as view

        view.versions(load_settings(), model, default=default, rollback=rollback, as_json=as_json)


def openapi(
    markdown: Annotated[bool, typer.Option("--markdown", help="As docs/API_REFERENCE.md.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the OpenAPI document of the shipped models, which is JSON anyway. No system need run."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import openapi as view

        view.show(markdown=markdown)
