"""`satellite kafka`: the topics, how far they have been read, what is in them, and messages by hand."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from satellite.cli.console import CommandFailed, console
from satellite.cli.db import find_database
from satellite.errors import ConfigError, EnvironmentProblem
from satellite.kafka.connect import client_options
from satellite.kafka.topics import Admin
from satellite.settings import Settings
from satellite.store import ReaderState

POLL_MS = 200


def topics(settings: Settings, *, create: bool, partitions: int, replication: int, as_json: bool) -> int:
    """Prints the topics, after making those that are missing if that is asked for.

    Returns:
        0: all are there; 1: not all.
    """
    with Admin(settings) as admin:
        made = admin.create(partitions=partitions, replication=replication) if create else []
        there, names = admin.partitions(), list(admin.names.values())
    rows = [{"topic": name, "partitions": there.get(name, 0), "made": name in made} for name in names]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        table = _table("Topic", "Partitions", "")
        for row in rows:
            state = "made" if row["made"] else "" if row["partitions"] else "missing: --create makes it"
            table.add_row(str(row["topic"]), str(row["partitions"] or "-"), state)
        console.print(table)
    return 0 if all(row["partitions"] for row in rows) else 1


def lag(settings: Settings, *, as_json: bool) -> None:
    """Prints how far the topic of jobs has been read, and how far the log has been sent out."""
    with Admin(settings) as admin:
        rows, prefix = admin.lag(), admin.topics.prefix
    readers = _readers(settings, prefix)
    if as_json:
        out = None if readers is None else [asdict(reader) for reader in readers]
        print(json.dumps({"in": rows, "out": out}, indent=1, default=str))
        return
    table = _table("In", "Committed", "End", "Lag")
    for row in rows:
        committed = "-" if row["committed"] is None else str(row["committed"])
        table.add_row(f"{prefix}.jobs {row['partition']}", committed, str(row["end"]), str(row["lag"]))
    console.print(table)
    if readers is None:
        console.print("What leaves is in the database, which is not reached from here.")
        return
    table = _table("Out", "Events behind", "Sent by")
    for reader in readers:
        table.add_row(reader.name, str(reader.behind), "nobody" if reader.owner is None else "a replica")
    console.print(table)


def tail(settings: Settings, topic: str, *, count: int | None, from_beginning: bool, as_json: bool) -> None:
    """Prints messages of a topic as they come, until Ctrl-C or so many of them.

    Raises:
        ConfigError, CommandFailed: there is no such topic.
    """
    with Admin(settings) as admin:
        if topic not in admin.names:
            raise ConfigError(f"there is no topic {topic!r}; there are: {', '.join(admin.names)}")
        name = admin.names[topic]
        if name not in admin.partitions():
            raise CommandFailed(f"There is no topic {name}: `satellite kafka topics --create` makes it.")
    for number, record in enumerate(_messages(settings, name, from_beginning=from_beginning), 1):
        value = (record.value or b"").decode(errors="replace")
        headers = {key: (text or b"").decode(errors="replace") for key, text in record.headers}
        key = None if record.key is None else record.key.decode(errors="replace")
        if as_json:
            place = {"partition": record.partition, "offset": record.offset, "key": key, "headers": headers}
            print(json.dumps({**place, "value": value}), flush=True)
        else:
            said = "".join(f" {name}={text}" for name, text in headers.items())
            print(f"{record.partition}/{record.offset}{said} {value}", flush=True)
        if number == count:
            return


def produce(settings: Settings, file: Path | None, *, key: str | None, as_json: bool) -> None:
    """Sends each line of a file (else of standard input) to the topic of jobs, as it is.

    Raises:
        ConfigError: the file cannot be read.
        CommandFailed: not all of them were taken.
    """
    try:
        lines = sys.stdin.buffer.read() if file is None else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from None
    places = _send(settings, [line for line in lines.splitlines() if line.strip()], key)
    if as_json:
        print(json.dumps([{"partition": partition, "offset": offset} for partition, offset in places]))
    else:
        console.print(f"{len(places)} message{'s' * (len(places) != 1)} sent.")


def print_schema(topic: str) -> None:
    """Prints the JSON Schema of a topic's messages.

    Raises:
        ConfigError: the topic has none.
    """
    from satellite.kafka.schemas import SCHEMAS, schema

    if topic not in SCHEMAS:
        raise ConfigError(f"there is no schema of {topic!r}; there are those of {', '.join(SCHEMAS)}")
    print(json.dumps(schema(topic), indent=1))


def _readers(settings: Settings, prefix: str) -> list[ReaderState] | None:
    """The log readers that send to these topics; None without a database."""
    from satellite.store import Store
    from satellite.store.connection import Connections

    async def read(url: str) -> list[ReaderState]:
        connections = await Connections.open(url, pool_size=2)
        try:
            found = await Store(connections).log_readers()
        finally:
            await connections.close()
        return [reader for reader in found if reader.name.startswith(f"{prefix}.")]

    try:
        return asyncio.run(read(find_database(settings)))
    except EnvironmentProblem:
        return None


def _messages(settings: Settings, topic: str, *, from_beginning: bool) -> Generator[Any]:
    from kafka import KafkaConsumer

    offset = "earliest" if from_beginning else "latest"
    options: dict[str, Any] = {**client_options(settings), "group_id": None, "auto_offset_reset": offset}
    consumer: Any = KafkaConsumer(topic, **options)
    with closing(consumer):
        while True:
            for records in consumer.poll(timeout_ms=POLL_MS).values():
                yield from records


def _send(settings: Settings, values: Iterable[bytes], key: str | None) -> list[tuple[int, int]]:
    from kafka import KafkaProducer
    from kafka.errors import KafkaError

    from satellite.kafka.connect import Topics

    topic = Topics(prefix=settings.kafka_prefix).jobs
    try:
        producer: Any = KafkaProducer(
            **client_options(settings), acks="all", linger_ms=5, max_block_ms=10_000
        )
        with closing(producer):
            sent = [producer.send(topic, value, key=key.encode() if key else None) for value in values]
            done = [future.get(timeout=30) for future in sent]
            return [(record.partition, record.offset) for record in done]
    except KafkaError as error:
        raise CommandFailed(
            f"Kafka at {settings.kafka_bootstrap} does not take messages for {topic} ({error}). If there is "
            "no such topic, `satellite kafka topics --create` makes it."
        ) from None


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number and title not in ("", "Sent by") else "left")
    return table
