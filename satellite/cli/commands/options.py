"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Serve config to deploy; default: serve_config.yaml of this checkout."),
]
Dashboard = Annotated[
    str | None,
    typer.Option(help="Address of the Ray dashboard of a cluster that `satellite up` did not start."),
]
Data = Annotated[
    str, typer.Option(help="Numbers `1,2,3`, a file `@series.csv` (or .json), or `-` for standard input.")
]
JobId = Annotated[str, typer.Argument(help="What `submit` printed.")]
Pairs = Annotated[
    list[str] | None, typer.Option("--config", help="A model setting, `key=value`; may be repeated.")
]
Version = Annotated[
    str | None, typer.Option("--version", help="Of the model; default: see `satellite versions`.")
]
