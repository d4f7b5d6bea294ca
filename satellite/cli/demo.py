"""`satellite demo`: a public time series goes through the whole system, and comes back as a forecast."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.table import Table

from satellite.cli import lifecycle
from satellite.cli.chart import forecast_chart
from satellite.cli.console import CommandFailed, console, print_json
from satellite.cli.inference import check_success, open_client
from satellite.cli.state import Paths
from satellite.client import Client, Result
from satellite.client.results import document
from satellite.settings import Settings

MODEL = "lstm_timeseries"
SERIES = "mauna_loa_co2_weekly.csv"
UNIT = "ppm"
STEPS = 52
SEASON = 52
SHOWN_HISTORY = 156
SHOWN_EVERY = 6
TIMEOUT_S = 120
MAX_WIDTH = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A series cut in two: what the model sees, and what then really happened."""

    times: list[str]
    history: list[float]
    actual: list[float]


def load_series() -> Series:
    """The series that comes with the package."""
    text = files("satellite.cli").joinpath("data", SERIES).read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    values = [float(row["co2_ppm"]) for row in rows]
    times = [row["week"] for row in rows]
    return Series(times=times[-STEPS:], history=values[:-STEPS], actual=values[-STEPS:])


def seasonal_naive(history: Sequence[float], steps: int, season: int) -> list[float]:
    """The forecast that repeats the last season: what any model must beat."""
    last = history[-season:]
    return [last[step % season] for step in range(steps)]


def mean_absolute_error(forecast: Sequence[float], actual: Sequence[float]) -> float:
    """How far a forecast is off on average, in the series' own unit."""
    return sum(abs(f - a) for f, a in zip(forecast, actual, strict=True)) / len(actual)


def run(settings: Settings, config_file: Path, *, as_json: bool) -> None:
    """Runs the demo; stops the system at the end if, and only if, it was started here.

    Raises:
        CommandFailed: the system does not start, or the job does not come back or does not succeed.
    """
    series = load_series()
    started = None if settings.url else lifecycle.start(settings, config_file)
    api_url = settings.api_url if started is None else started.state.api_url
    try:
        with open_client(settings.model_copy(update={"url": api_url})) as client:
            answer = _run_job(client, series)
        if as_json:
            print_json(document(answer))
        else:
            _show(answer, series)
        if started is not None:
            lifecycle.print_addresses(started.state, Paths(settings.home))
    finally:
        if started is not None and started.by_us:
            console.print("Stopping what was started (`satellite up` or `make up` keeps it) ...")
            lifecycle.stop(Paths(settings.home), started.supervisor, started.state.run_id)
            console.print("Stopped.")


def _run_job(client: Client, series: Series) -> Result:
    console.print(
        f"Weekly CO2 at Mauna Loa ({UNIT}; Keeling and Whorf): {len(series.history)} points go to {MODEL}, "
        f"the next {STEPS} weeks are forecast."
    )
    began = time.monotonic()
    job = client.submit(MODEL, series.history, forecast_steps=STEPS, season_length=SEASON)
    console.print(f"Job {job.job_id} accepted after {1000 * (time.monotonic() - began):.0f} ms.")
    with console.status("queued") as spinner:
        while True:
            answer = client.result(job, wait_s=0.5)
            elapsed_s = time.monotonic() - began
            spinner.update(f"{answer.status}, {elapsed_s:.1f} s")
            if answer.status.is_terminal:
                break
            if elapsed_s > TIMEOUT_S:
                raise CommandFailed(
                    f"The job is still {answer.status} after {TIMEOUT_S} s: see `satellite logs`."
                )
    check_success(answer)
    console.print(
        f"[green]succeeded[/] after {elapsed_s:.1f} s (a lone job waits up to 2 s for others to join it)."
    )
    return answer


def _show(answer: Result, series: Series) -> None:
    forecast: list[float] = answer["forecast"]
    quantiles: dict[str, list[float]] = answer["quantiles"]
    low, high = quantiles["0.1"], quantiles["0.9"]
    console.print(
        f"\nForecast of {answer.model_name} {answer.model_version}, {UNIT}, all {len(forecast)} steps:"
    )
    console.print(", ".join(f"{value:.1f}" for value in forecast))
    console.print()
    console.print(_table(series, forecast, low, high))
    console.print()
    chart = forecast_chart(
        series.history[-SHOWN_HISTORY:],
        forecast,
        low,
        high,
        series.actual,
        unit=UNIT,
        width=min(console.width, MAX_WIDTH),
        colour=console.is_terminal,
    )
    print(chart)
    ours = mean_absolute_error(forecast, series.actual)
    naive = mean_absolute_error(seasonal_naive(series.history, STEPS, SEASON), series.actual)
    inside = sum(a <= value <= b for a, value, b in zip(low, series.actual, high, strict=True))
    console.print(
        f"\nMean absolute error: {MODEL} {ours:.2f} {UNIT}, repeating the last year {naive:.2f} {UNIT}. "
        f"{inside} of {STEPS} true values lie inside the 0.1-0.9 band.\n"
    )


def _table(series: Series, forecast: list[float], low: list[float], high: list[float]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("Step", "Week of", "Forecast", "0.1-0.9 band", "Actual"):
        table.add_column(title, justify="right")
    columns: Any = zip(series.times, forecast, low, high, series.actual, strict=True)
    for step, (when, value, bottom, top, actual) in enumerate(columns, start=1):
        if step == 1 or step % SHOWN_EVERY == 0:
            table.add_row(str(step), when, f"{value:.1f}", f"{bottom:.1f} - {top:.1f}", f"{actual:.1f}")
    return table
