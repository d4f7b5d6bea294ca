"""`satellite db`: the database's schema, and what it holds."""

from __future__ import annotations

import typer

from satellite.cli.commands.options import AsJson
from satellite.cli.console import foreseen_errors, load_settings

db = typer.Typer(help="The database's schema, and what it holds.", no_args_is_help=True)


@db.command("upgrade")
def db_upgrade(as_json: AsJson = False) -> None:
    """Bring the schema up to date. Safe to run twice, and while ingresses run."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import db as action

        action.upgrade(load_settings(), as_json=as_json)


@db.command("status")
def db_status(as_json: AsJson = False) -> None:
    """Show schema, jobs, days, sizes, ingresses. Exit code 0: schema up to date, 1: not, 2: no database."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import db as view

        raise typer.Exit(view.status(load_settings(), as_json=as_json))
