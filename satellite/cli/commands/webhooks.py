"""`satellite webhooks`: who is told of jobs by HTTP, and what came of it."""

from __future__ import annotations

from typing import Annotated

import typer

from satellite.cli.commands.options import AsJson
from satellite.cli.console import foreseen_errors, load_settings, print_json

webhooks = typer.Typer(help="Who is told of jobs by HTTP, and what came of it.", no_args_is_help=True)

WebhookId = Annotated[str, typer.Argument(help="See `satellite webhooks list`.")]


@webhooks.command("list")
def webhooks_list(as_json: AsJson = False) -> None:
    """List the endpoints."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as view

        view.list_endpoints(load_settings(), as_json=as_json)


@webhooks.command("add")
def webhooks_add(
    url: Annotated[str, typer.Argument(help="Where to POST to.")],
    event: Annotated[
        list[str] | None,
        typer.Option("--event", help="Such as job.failed; may be repeated; default: every end of a job."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only jobs of this model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register an endpoint; prints its id and the secret that signs its messages."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as action

        action.add(load_settings(), url, events=event or [], model=model, as_json=as_json)


@webhooks.command("remove")
def webhooks_remove(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Delete an endpoint, with what waits for it and the log of its deliveries."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as action

        action.remove(load_settings(), webhook_id)
        if as_json:
            print_json({"id": webhook_id})


@webhooks.command("test")
def webhooks_test(webhook_id: WebhookId, as_json: AsJson = False) -> None:
    """Send a test event; prints the delivery's id."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as action

        action.test(load_settings(), webhook_id, as_json=as_json)


@webhooks.command("deliveries")
def webhooks_deliveries(
    webhook_id: WebhookId,
    status: Annotated[
        str | None, typer.Option("--status", help="pending, delivered or failed; default: all.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="Deliveries at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List deliveries to an endpoint, newest first, with what came of them."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as view

        view.deliveries(load_settings(), webhook_id, status=status, limit=limit, as_json=as_json)


@webhooks.command("redeliver")
def webhooks_redeliver(
    webhook_id: WebhookId,
    delivery_id: Annotated[str, typer.Argument(help="See `satellite webhooks deliveries`.")],
    as_json: AsJson = False,
) -> None:
    """Send a delivery again, at once and with all its tries."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import webhooks as action

        action.redeliver(load_settings(), webhook_id, delivery_id, as_json=as_json)
