"""`satellite simulate`: devices that are not there send what they measure."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from satellite.cli.console import (
    EXIT_INTERRUPTED,
    console,
    errors,
    foreseen_errors,
    load_settings,
    print_json,
)
from satellite.cli.simulate_view import show
from satellite.errors import ConfigError
from satellite.settings import Settings

if TYPE_CHECKING:
    from satellite.simulator.readings import Reading
    from satellite.simulator.sinks import Asked, Sink
    from satellite.simulator.summary import Summary

    Plan = Iterator[tuple[float | None, Reading]]

DEFAULT_DURATION_S = 30.0
# A file is written at once; without a bound of its own it holds so many requests.
DEFAULT_FILE_COUNT = 1000
DEFAULT_HORIZON = 5
REFRESH_S = 0.5


class To(StrEnum):
    """Where requests go."""

    SUBMIT = "submit"
    PREDICT = "predict"
    BATCH = "batch"
    WEBSOCKET = "ws"
    KAFKA = "kafka"
    FILE = "file"


class Load(StrEnum):
    """As `satellite.simulator.load.Shape`, which needs numpy."""

    CONSTANT = "constant"
    POISSON = "poisson"
    BURST = "burst"
    DAILY = "daily"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command was told; see its help."""

    to: To
    model: str
    config: dict[str, Any]
    sockets: int
    output: Path | None
    channels: list[str]
    devices: int
    points: int
    stride: int
    anomaly_every: float
    gap_every: float
    seed: int
    load: Load
    rate: str
    burst: int
    day_s: float
    duration_s: float | None
    count: int | None
    replay: Path | None
    time_column: str
    value_column: str
    device_column: str
    speed: str
    timeout_s: float
    drain_s: float
    allow_remote: bool


def simulate(
    to: Annotated[
        To, typer.Option("--to", help="REST (submit, predict, batch), ws, kafka or file.")
    ] = To.SUBMIT,
    model: Annotated[str, typer.Option("--model", help="See `satellite models`.")] = "lstm_timeseries",
    config: Annotated[
        list[str] | None, typer.Option("--config", help="A model setting, `key=value`; may be repeated.")
    ] = None,
    sockets: Annotated[int, typer.Option(min=1, max=100, help="With --to ws: so many take turns.")] = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --to file: x.jsonl, x.csv or x.parquet.")
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            help="sensor, battery_voltage, temperature, attitude_error or signal_strength; may be repeated. "
            "Default: all.",
        ),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, max=100_000, help="They take turns.")] = 10,
    points: Annotated[int, typer.Option(min=8, max=100_000, help="Points in a request.")] = 192,
    stride: Annotated[
        int, typer.Option(min=1, max=100_000, help="Points by which a device's next request is later.")
    ] = 5,
    anomaly_every: Annotated[
        float, typer.Option(min=0, help="Points between two anomalies of a device, on average; 0: none.")
    ] = 0,
    gap_every: Annotated[
        float, typer.Option(min=0, help="Points between two gaps of a device, on average; 0: none.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same series and times.")] = 0,
    load: Annotated[Load, typer.Option(help="How requests are spread over time.")] = Load.CONSTANT,
    rate: Annotated[str, typer.Option(help="On average: 50 (a second), 1/min, 90/h.")] = "10",
    burst: Annotated[int, typer.Option(min=1, help="With --load burst: requests of a burst.")] = 50,
    day_s: Annotated[float, typer.Option(min=1, help="With --load daily: seconds of a day.")] = 60,
    duration_s: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds. Default: 30, unless there is a --count or a --replay."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="Requests at most.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Send what a CSV or Parquet file holds.")] = None,
    time_column: Annotated[str, typer.Option(help="With --replay.")] = "timestamp",
    value_column: Annotated[str, typer.Option(help="With --replay.")] = "value",
    device_column: Annotated[str, typer.Option(help="With --replay; the file may have none.")] = "device",
    speed: Annotated[
        str, typer.Option(help="With --replay: 60 is a minute a second; max: as fast as answers come.")
    ] = "1",
    timeout_s: Annotated[float, typer.Option(min=0.1, help="How long a call is tried again.")] = 60,
    drain_s: Annotated[float, typer.Option(min=0, help="How long to wait for answers at the end.")] = 30,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Send to a system that is not on this machine.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Send what simulated devices measure, and say what came of it. Ctrl-C ends it with the summary."""
    with foreseen_errors(as_json=as_json):
        from satellite.cli.inference import parse_config

        options = Options(
            to=to,
            model=model,
            config=parse_config(config or []),
            sockets=sockets,
            output=output,
            channels=channel or [],
            devices=devices,
            points=points,
            stride=stride,
            anomaly_every=anomaly_every,
            gap_every=gap_every,
            seed=seed,
            load=load,
            rate=rate,
            burst=burst,
            day_s=day_s,
            duration_s=duration_s,
            count=count,
            replay=replay,
            time_column=time_column,
            value_column=value_column,
            device_column=device_column,
            speed=speed,
            timeout_s=timeout_s,
            drain_s=drain_s,
            allow_remote=allow_remote,
        )
        summary, interrupted = asyncio.run(run(load_settings(), options, live=not as_json))
        if as_json:
            print_json(summary.as_dict())
        else:
            console.print(show(summary))
        if interrupted:
            raise typer.Exit(EXIT_INTERRUPTED)


async def run(settings: Settings, options: Options, *, live: bool = False) -> tuple[Summary, bool]:
    """Sends everything.

    Args:
        settings: where the system is.
        options: what to send, and how.
        live: show the counts meanwhile, on a terminal.

    Returns:
        The summary, and whether Ctrl-C has ended it.

    Raises:
        ConfigError: an option does not fit.
        ModelNotFound, Unreached: there is nobody to send to.
    """
    from satellite.simulator.run import RealClock, Run
    from satellite.simulator.sinks import Asked
    from satellite.simulator.summary import Summary

    summary = Summary()
    asked = Asked(
        model_name=options.model, config=options.config, labels={"simulator": f"seed-{options.seed}"}
    )
    plan = make_plan(options)
    sink = make_sink(settings, options, asked, summary)
    if options.to not in (To.FILE, To.KAFKA):
        await _check_model(settings, options.model)
    async with sink:
        work = asyncio.create_task(Run(sink, summary, RealClock()).send_all(plan, drain_s=options.drain_s))
        with _interrupts(work) as interrupted, _live(summary, live):
            await asyncio.wait({work})
    if not work.cancelled():
        work.result()
    return summary, bool(interrupted)


def make_plan(options: Options) -> Plan:
    """What is sent, and when.

    Raises:
        ConfigError: an option does not fit.
    """
    from itertools import islice, takewhile

    import numpy as np

    from satellite.simulator import load, replay
    from satellite.simulator.readings import Cut, Fleet
    from satellite.simulator.series import CHANNELS, find_channel

    horizon = options.config.get("forecast_steps", DEFAULT_HORIZON)
    if not isinstance(horizon, int) or horizon < 1:
        raise ConfigError(f"--config forecast_steps={horizon}: give a whole number above 0")
    cut = Cut(points=options.points, stride=options.stride, horizon=horizon)
    to_file = options.to is To.FILE
    if options.replay is not None:
        columns = replay.Columns(
            time=options.time_column, value=options.value_column, device=options.device_column
        )
        speed = replay.parse_speed(options.speed)
        found = replay.readings(replay.read(options.replay, columns), cut, speed=None if to_file else speed)
        limit_s = options.duration_s
        if limit_s is not None:
            found = takewhile(lambda planned: planned[0] is None or planned[0] < limit_s, found)
        return islice(found, options.count)
    rate = load.parse_rate(options.rate)
    fleet = Fleet(
        [find_channel(name) for name in options.channels or CHANNELS],
        devices=options.devices,
        cut=cut,
        seed=options.seed,
        anomaly_every=options.anomaly_every,
        gap_every=options.gap_every,
    )
    count, duration_s = options.count, options.duration_s
    if count is None and duration_s is None:
        count, duration_s = (DEFAULT_FILE_COUNT, None) if to_file else (None, DEFAULT_DURATION_S)
    rng = np.random.default_rng([options.seed, options.devices])
    times = load.arrivals(load.Shape(options.load.value), rate, rng, burst=options.burst, day_s=options.day_s)
    due = load.bounded(times, duration_s=duration_s, count=count)
    # A file has no time of its own: it is written as fast as it can be.
    return zip((None if to_file else due_s for due_s in due), fleet.readings(), strict=False)


def make_sink(settings: Settings, options: Options, asked: Asked, summary: Summary) -> Sink:
    """Where it is sent.

    Raises:
        ConfigError: an option does not fit, or the system is not on this machine.
    """
    from satellite.simulator import sinks

    if (options.to is To.FILE) is not (options.output is not None):
        raise ConfigError("--to file and --output FILE belong together")
    if options.output is not None:
        from satellite.simulator.file_sink import FileSink

        return FileSink(options.output, asked)
    if options.to is To.KAFKA:
        from satellite.simulator.kafka_sink import KafkaSink

        brokers = (settings.kafka_bootstrap or "").split(",")
        check_local(
            [urlsplit(f"//{broker.strip()}").hostname or "" for broker in brokers if broker.strip()],
            allowed=options.allow_remote,
        )
        return KafkaSink(settings, asked)
    url, key = settings.api_url, settings.api_key_value
    check_local([urlsplit(url).hostname or ""], allowed=options.allow_remote)
    if options.to is To.WEBSOCKET:
        from satellite.simulator.socket_sink import SocketSink

        return SocketSink(url, asked, summary.retried, api_key=key, sockets=options.sockets)
    kinds = {To.SUBMIT: sinks.RestSink, To.PREDICT: sinks.PredictSink, To.BATCH: sinks.BatchSink}
    return kinds[options.to](url, asked, summary.retried, api_key=key, timeout_s=options.timeout_s)


def check_local(hosts: list[str], *, allowed: bool) -> None:
    """Whether requests may go there: a slip of the pen must not be a load test of somebody's system.

    Raises:
        ConfigError: a host is not this machine, and that was not allowed.
    """
    for host in hosts:
        if not (allowed or host == "localhost" or _is_loopback(host)):
            raise ConfigError(f"{host} is not this machine: add --allow-remote to send to it all the same")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _check_model(settings: Settings, model: str) -> None:
    """Asks for the model once, so that a wrong name or address is told at once."""
    from satellite.client import AsyncClient

    url, key = settings.api_url, settings.api_key_value
    async with AsyncClient(url, api_key=key, retry=False, timeout_s=15) as client:
        await client.model(model)


@contextmanager
def _interrupts(work: asyncio.Task[None]) -> Generator[list[int]]:
    """Ctrl-C, or an order to end, cancels the work and is written down."""
    seen: list[int] = []
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        seen.append(number)
        work.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield seen
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def _live(summary: Summary, wanted: bool) -> Generator[None]:
    """The counts on the terminal, renewed twice a second, and gone at the end."""
    if not (wanted and sys.stderr.isatty()):
        yield
        return
    from rich.live import Live

    async def renew(view: Live) -> None:
        while True:
            view.update(show(summary), refresh=True)
            await asyncio.sleep(REFRESH_S)

    with Live(console=errors, auto_refresh=False, transient=True) as view:
        renewing = asyncio.create_task(renew(view))
        try:
            yield
        finally:
            renewing.cancel()
