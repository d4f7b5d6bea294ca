"""The commands of `satellite`; what each does is in the module it calls.

Modules are imported inside the commands, so that `satellite --help` is there at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from satellite.cli.console import console, foreseen_errors, load_settings

app = typer.Typer(
    help="Satellite: durable AI inference on Ray Serve.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="Serve config to deploy; default: serve_config.yaml of this checkout."),
]
Data = Annotated[
    str, typer.Option(help="Numbers `1,2,3`, a file `@series.csv` (or .json), or `-` for standard input.")
]
Pairs = Annotated[
    list[str] | None, typer.Option("--config", help="A model setting, `key=value`; may be repeated.")
]


@app.command()
def up(
    config: ConfigFile = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay attached; Ctrl-C stops everything.")
    ] = False,
) -> None:
    """Start the whole system, and return when it is ready."""
    with foreseen_errors():
        from satellite.cli import lifecycle

        settings = load_settings()
        started = lifecycle.start(settings, config or settings.root / "serve_config.yaml")
        state = started.state
        if not started.by_us:
            console.print("[green]Already up.[/]")
        elif state.ready_at is not None:
            console.print(f"[green]Ready after {state.ready_at - state.started_at:.1f} s.[/]")
        lifecycle.print_addresses(state)
        if not (foreground and started.by_us):
            started.keep()
            console.print(
                "See it work: `make demo`. Stop it: `make down` (or `satellite demo`, `satellite down`)."
            )
            return
        console.print("Stop it with Ctrl-C.")
        lifecycle.stay_attached(settings, started)


@app.command()
def down() -> None:
    """Stop the system, and clean up after a crash."""
    with foreseen_errors():
        from satellite.cli import lifecycle

        console.print(lifecycle.down(load_settings()))


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every part: state, address, uptime, memory. Exit code 0: all well, 1: degraded, 3: not running."""
    with foreseen_errors():
        from satellite.cli import status as view

        raise typer.Exit(view.show(load_settings(), as_json=as_json))


@app.command()
def logs(
    part: Annotated[
        str | None, typer.Argument(help="supervisor, postgres, redis, ray or serve; default: all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines arrive.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each file.")] = 50,
) -> None:
    """Show the last log lines of one part, or of all."""
    with foreseen_errors():
        from satellite.cli import logs as view

        view.show(load_settings(), part=part, follow=follow, lines=lines)


@app.command()
def deploy(
    file: Annotated[Path | None, typer.Argument(help="Serve config; default: serve_config.yaml.")] = None,
) -> None:
    """Hand a Serve config to the running system, and wait until it runs."""
    with foreseen_errors():
        from satellite.cli import deploy as action

        settings = load_settings()
        action.deploy(settings, file or settings.root / "serve_config.yaml")


@app.command()
def demo(config: ConfigFile = None) -> None:
    """Forecast a public time series: starts the system if it is not up, and stops what it started."""
    with foreseen_errors():
        from satellite.cli import demo as show

        settings = load_settings()
        show.run(settings, config or settings.root / "serve_config.yaml")


@app.command()
def submit(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    data: Data,
    config: Pairs = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result.")] = False,
) -> None:
    """Submit a job; prints its id, or with --wait its result."""
    with foreseen_errors():
        from satellite.cli import inference

        inference.submit(load_settings(), model, data, config or [], wait=wait)


@app.command()
def result(
    job_id: Annotated[str, typer.Argument(help="What `submit` printed.")],
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0, help="Seconds to wait for the end of the job.")
    ] = 0,
) -> None:
    """Print a job's status and result as JSON. Exit code 1: it ended without success."""
    with foreseen_errors():
        from satellite.cli import inference

        inference.result(load_settings(), job_id, wait_s=wait_s)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    data: Data,
    config: Pairs = None,
) -> None:
    """Run a model now and print its result as JSON."""
    with foreseen_errors():
        from satellite.cli import inference

        inference.predict(load_settings(), model, data, config or [])


@app.command()
def models() -> None:
    """List the models that are deployed."""
    with foreseen_errors():
        from satellite.cli import inference

        inference.models(load_settings())
