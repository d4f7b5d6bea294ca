"""`satellite`: all commands, in the order in which `--help` shows them."""

from __future__ import annotations

import typer

from satellite.cli.commands import calls, jobs, models, system
from satellite.cli.commands.db import db
from satellite.cli.commands.kafka import kafka
from satellite.cli.commands.webhooks import webhooks
from satellite.cli.keys import keys
from satellite.cli.simulate import simulate

app = typer.Typer(
    help="Satellite: durable AI inference on Ray Serve.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    system.up,
    system.down,
    system.status,
    system.logs,
    system.deploy,
    system.scale,
    system.head,
    system.worker,
    system.demo,
    system.monitor,
    calls.submit,
    calls.result,
    calls.predict,
    calls.batch,
    simulate,
    models.models,
    models.new_model,
    models.check_model,
    models.versions,
    jobs.jobs,
    jobs.explain,
    jobs.cancel,
    jobs.retry,
    models.openapi,
):
    app.command()(command)
for name, group in {"db": db, "kafka": kafka, "webhooks": webhooks, "keys": keys}.items():
    app.add_typer(group, name=name)
