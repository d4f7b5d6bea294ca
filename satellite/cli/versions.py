"""`satellite versions`: what versions a model has, where they are loaded, and which is the default."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote

from rich.table import Table

from satellite.cli.console import console, print_json
from satellite.cli.inference import Json, open_client
from satellite.errors import ConfigError
from satellite.settings import Settings

# The new default is loaded on every replica first.
LOAD_WAIT_S = 120


def versions(settings: Settings, model: str, *, default: str | None, rollback: bool, as_json: bool) -> None:
    """Prints a model's versions, after changing its default if that is asked for.

    Args:
        settings: where the API is.
        model: the model's name.
        default: the version that is to answer where none is named.
        rollback: go back to the default before instead.
        as_json: print what the API answers.

    Raises:
        ConfigError: both are asked for.
    """
    if default is not None and rollback:
        raise ConfigError("give --set-default or --rollback, not both")
    path = f"/api/v1/models/{quote(model, safe='')}"
    with open_client(settings) as client:
        if default is not None or rollback:
            body: Json = {"rollback": True} if rollback else {"version": default}
            found = client.request("POST", f"{path}/default", body=body, wait_s=LOAD_WAIT_S)
        else:
            found = client.request("GET", f"{path}/versions")
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("Version", "", "Created", "Size", "Loaded in", "Problem"):
        table.add_column(title, justify="right" if title == "Size" else "left", overflow="fold")
    for version in cast("list[Json]", found["versions"]):
        size_bytes, replicas = version["size_bytes"], len(version["loaded_in"])
        table.add_row(
            version["version"],
            "default" if version["default"] else "",
            str(version["created"] or "")[:10],
            "" if size_bytes is None else f"{size_bytes / 1e6:.1f} MB",
            "" if not replicas else f"{replicas} replica{'s' * (replicas > 1)}",
            version["problem"] or "",
        )
    console.print(table)
