"""The summary of `satellite simulate`, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table

from satellite.cli.units import short_duration

if TYPE_CHECKING:
    from satellite.simulator.summary import Summary


def show(summary: Summary) -> RenderableType:
    """What came of a run, so far or at its end."""
    found = summary.as_dict()
    table = Table.grid(padding=(0, 2))
    rate = f", {found['sent_per_s']:,.1f} a second" if found["sent_per_s"] else ""
    table.add_row("sent", f"{summary.sent:,} in {summary.sending_s:.1f} s{rate}")
    table.add_row("accepted", f"{summary.accepted:,}")
    for name in ("rejected", "ended", "lost", "retried"):
        if found[name]:
            table.add_row(name, ", ".join(f"{count:,} {key}" for key, count in found[name].items()))
    for name in ("not_sent", "unanswered", "unfinished", "gap_points"):
        if found[name]:
            table.add_row(name.replace("_", " "), f"{found[name]:,}")
    parts: list[RenderableType] = [table]
    if "written" not in found["ended"]:
        parts.append(_latencies(found))
    if "forecast" in found:
        parts.append(_forecasts(found["forecast"]))
    if "detection" in found:
        parts.append(_detection(found["detection"]))
    return Group(*parts)


def _latencies(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("since it was due")
    for name in ("p50", "p90", "p99", "max"):
        table.add_column(name, justify="right")
    for name, title in (("late_s", "sent"), ("submit_s", "accepted"), ("end_to_end_s", "ended")):
        if found[name]:
            table.add_row(title, *(short_duration(value) for value in found[name].values()))
    return table


def _forecasts(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("forecasts of")
    for title in ("forecasts", "MAE", "sMAPE", "OWA"):
        table.add_column(title, justify="right")
    for channel, score in found["channels"].items():
        table.add_row(
            channel,
            f"{score['forecasts']:,}",
            f"{score['mae']:.3g}",
            f"{score['smape']:.1f}%",
            _share(score["owa"]),
        )
    table.add_row("all", "", "", "", _share(found["owa"]))
    return table


def _detection(found: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    shares = ", ".join(f"{name} {_share(found[name])}" for name in ("precision", "recall", "f1"))
    table.add_row("anomalies", f"{shares} ({found['hits'] + found['misses']:,} odd points)")
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
