"""Commands that start, stop, look after and change a system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from satellite.cli.commands.options import AsJson, ConfigFile, Dashboard
from satellite.cli.console import console, foreseen_errors, load_settings, print_json


def up(
    config: ConfigFile = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay attached; Ctrl-C stops everything.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the whole system, and return when it is ready."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import lifecycle
        from satellite.cli.state import Paths

        settings = load_settings()
        started = lifecycle.start(settings, config or settings.root / "serve_config.yaml")
        state = started.state
        if as_json:
            print_json(lifecycle.summary(started))
        if not started.by_us:
            console.print("[green]Already up.[/]")
        elif state.ready_at is not None:
            console.print(f"[green]Ready after {state.ready_at - state.started_at:.1f} s.[/]")
        if not as_json:
            lifecycle.print_addresses(state, Paths(settings.home))
        if not (foreground and started.by_us):
            started.keep()
            console.print(
                "See it work: `make demo`. Stop it: `make down` (or `satellite demo`, `satellite down`)."
            )
            return
        console.print("Stop it with Ctrl-C.")
        lifecycle.stay_attached(settings, started)


def down(as_json: AsJson = False) -> None:
    """Stop the system, and clean up after a crash."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import lifecycle

        done = lifecycle.down(load_settings())
        if as_json:
            print_json({"detail": done})
        else:
            console.print(done)


def status(as_json: AsJson = False) -> None:
    """Show every part: state, address, uptime, memory. Exit code 0: all well, 1: degraded, 3: not running."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import status as view

        raise typer.Exit(view.show(load_settings(), as_json=as_json))


def logs(
    part: Annotated[
        str | None, typer.Argument(help="supervisor, postgres, redis, ray or serve; default: all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines arrive.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each file.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the last log lines of one part, or of all."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import logs as view

        view.show(load_settings(), part=part, follow=follow, lines=lines, as_json=as_json)


def deploy(
    file: Annotated[Path | None, typer.Argument(help="Serve config; default: serve_config.yaml.")] = None,
    dashboard: Dashboard = None,
    as_json: AsJson = False,
) -> None:
    """Hand a Serve config to the running system, and wait until it runs."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import deploy as action

        settings = load_settings()
        deployed = action.deploy(
            settings, file or settings.root / "serve_config.yaml", dashboard_url=dashboard
        )
        if as_json:
            print_json(deployed)


def scale(
    model: Annotated[str, typer.Argument(help="The model's name; see `satellite models`.")],
    replicas: Annotated[str, typer.Argument(help="A number, or `auto`: as its config says.")],
    dashboard: Dashboard = None,
    as_json: AsJson = False,
) -> None:
    """Give a model a number of replicas by hand, until the next deploy."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import scale as action

        bounds = action.scale(load_settings(), model, replicas, dashboard_url=dashboard)
        if as_json:
            print_json(bounds)


def head(
    config: ConfigFile = None,
    address: Annotated[
        str, typer.Option(help="Of this machine, as the cluster's other nodes reach it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where they join.")] = 6379,
    as_json: AsJson = False,
) -> None:
    """Run the head node of a cluster, and deploy to it; for containers and machines of one's own."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import node

        settings = load_settings()
        raise typer.Exit(
            node.head(settings, config or settings.root / "serve_config.yaml", address=address, port=port)
        )


def worker(
    head: Annotated[str, typer.Argument(help="HOST:PORT where `satellite head` runs.")],
    address: Annotated[
        str | None, typer.Option(help="Of this machine, as the others reach it; default: Ray finds it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a further node of a cluster."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import node

        node.worker(load_settings(), head, address=address)


def demo(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Forecast a public time series: starts the system if it is not up, and stops what it started."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import demo as show

        settings = load_settings()
        show.run(settings, config or settings.root / "serve_config.yaml", as_json=as_json)


def monitor(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where Prometheus listens.")] = 9090,
    as_json: AsJson = False,
) -> None:
    """Run the installed Prometheus against the running system, until Ctrl-C."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import monitor as show

        show.run(load_settings(), port, as_json=as_json)
