"""`satellite kafka`: Kafka's topics, and what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from satellite.cli.commands.options import AsJson
from satellite.cli.console import foreseen_errors, load_settings

kafka = typer.Typer(help="Kafka's topics, and what is in them.", no_args_is_help=True)


@kafka.command("topics")
def kafka_topics(
    create: Annotated[bool, typer.Option("--create", help="Make those that are missing.")] = False,
    partitions: Annotated[int, typer.Option(min=1, help="Of each topic that is made.")] = 6,
    replication: Annotated[
        int, typer.Option(help="Copies of each topic that is made; -1: as the brokers are set.")
    ] = -1,
    as_json: AsJson = False,
) -> None:
    """Show the topics, or make them; exit code 1 if one is missing."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        code = commands.topics(
            load_settings(), create=create, partitions=partitions, replication=replication, as_json=as_json
        )
        raise typer.Exit(code)


@kafka.command("lag")
def kafka_lag(as_json: AsJson = False) -> None:
    """Show how far what comes in has been read, and what leaves has been sent."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        commands.lag(load_settings(), as_json=as_json)


@kafka.command("tail")
def kafka_tail(
    topic: Annotated[str, typer.Argument(help="jobs, rejected, results or events.")] = "results",
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many.")] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Not only what comes from now on.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print messages of a topic as they come; Ctrl-C ends it."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        commands.tail(load_settings(), topic, count=count, from_beginning=from_beginning, as_json=as_json)


@kafka.command("produce")
def kafka_produce(
    file: Annotated[
        Path | None, typer.Argument(help="One JSON message a line; left out: standard input.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The messages' key: those of one key keep their order.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send messages to the topic of jobs."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        commands.produce(load_settings(), file, key=key, as_json=as_json)


@kafka.command("schema")
def kafka_schema(
    topic: Annotated[str, typer.Argument(help="jobs, results or events.")] = "jobs",
    as_json: AsJson = False,
) -> None:
    """Print the JSON Schema of a topic's messages, which is JSON anyway."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli import kafka as commands

        commands.print_schema(topic)
