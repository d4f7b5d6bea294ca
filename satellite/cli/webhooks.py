"""The commands on webhooks: list, add, remove, test, deliveries, redeliver."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from rich.table import Table
from rich.text import Text

from satellite.cli.console import console, print_json
from satellite.cli.inference import Json, open_client
from satellite.settings import Settings

PATH = "/api/v1/webhooks"
_COLOURS = {"delivered": "green", "failed": "red", "pending": "cyan"}


def list_endpoints(settings: Settings, *, as_json: bool) -> None:
    """Prints the endpoints."""
    with open_client(settings) as client:
        hooks = cast("list[Json]", client.request("GET", PATH)["webhooks"])
    if as_json:
        print_json(hooks)
        return
    if not hooks:
        console.print("No webhooks.")
        return
    table = _table("Webhook", "URL", "Events", "Model", "")
    for hook in hooks:
        state = "" if hook["enabled"] else f"disabled: {hook['disabled_reason']}"
        events = " ".join(cast("list[str]", hook["events"]))
        table.add_row(
            hook["id"], Text(hook["url"]), events, hook["model_name"] or "all", Text(state, "yellow")
        )
    console.print(table)


def add(settings: Settings, url: str, *, events: list[str], model: str | None, as_json: bool) -> None:
    """Registers an endpoint; prints its id and its secret."""
    body: Json = {"url": url, "model_name": model}
    if events:
        body["events"] = events
    with open_client(settings) as client:
        hook = client.request("POST", PATH, body=body, wait_s=10)
    if as_json:
        print_json(hook)
        return
    print(hook["id"])
    print(hook["secret"])
    console.print("The second line is the secret that signs its messages: it is not shown again.")


def remove(settings: Settings, webhook_id: str) -> None:
    """Deletes an endpoint."""
    with open_client(settings) as client:
        client.request("DELETE", f"{PATH}/{webhook_id}")
    console.print("Removed.")


def test(settings: Settings, webhook_id: str, *, as_json: bool) -> None:
    """Sends a test event; prints the delivery's id."""
    with open_client(settings) as client:
        delivery = client.request("POST", f"{PATH}/{webhook_id}/test")
    if as_json:
        print_json(delivery)
    else:
        print(delivery["id"])


def deliveries(settings: Settings, webhook_id: str, *, status: str | None, limit: int, as_json: bool) -> None:
    """Prints the newest deliveries to an endpoint."""
    with open_client(settings) as client:
        params: Json = {"status": status, "limit": limit}
        page = client.request("GET", f"{PATH}/{webhook_id}/deliveries", params=params)
    found = cast("list[Json]", page["deliveries"])
    if as_json:
        print_json(found)
        return
    if not found:
        console.print("No such deliveries.")
        return
    table = _table("Delivery", "Event", "Job", "Status", "Tries", "Last try", "Next try")
    for delivery in found:
        tried = cast("list[Json]", delivery["attempts"])
        last = "" if not tried else tried[-1]["error"] or str(tried[-1]["status_code"])
        next_at = delivery["next_try_at"] and datetime.fromisoformat(delivery["next_try_at"])
        table.add_row(
            delivery["id"],
            delivery["event"],
            delivery["job_id"] or "",
            Text(delivery["status"], _COLOURS[delivery["status"]]),
            str(delivery["tries"]),
            Text(last),
            f"{next_at:%Y-%m-%d %H:%M:%SZ}" if next_at else "",
        )
    console.print(table)


def redeliver(settings: Settings, webhook_id: str, delivery_id: str, *, as_json: bool) -> None:
    """Sends a delivery again."""
    with open_client(settings) as client:
        delivery = client.request("POST", f"{PATH}/{webhook_id}/deliveries/{delivery_id}/redeliver")
    if as_json:
        print_json(delivery)
    console.print("It is sent again.")


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table
