"""Bars out of a saved comparison: `python -m benchmarks.plots RESULTS.json FOLDER`, where matplotlib is."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")
# Text stays text, and the same figures make the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "satellite", "font.size": 9})

from matplotlib import pyplot  # noqa: E402

COLOURS = ("#2563eb", "#93c5fd")
CHARTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "throughput": (
        "Synchronous predict: requests per second (more is better)",
        {"32 clients": "predict_32_per_s", "256 clients": "predict_256_per_s"},
    ),
    "latency": (
        "Synchronous predict, 32 clients: milliseconds (less is better)",
        {"p50": "predict_32_p50_ms", "p99": "predict_32_p99_ms"},
    ),
    "jobs": (
        "Durable jobs per second (more is better)",
        {"accepted": "accepts_per_s", "finished": "jobs_per_s"},
    ),
}


def main(results: str, folder: str) -> None:
    """Draw every chart."""
    rows = json.loads(Path(results).read_text())["data"]["rows"].values()
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, (title, series) in CHARTS.items():
        shown = [row for row in rows if all(key in row["figures"] for key in series.values())]
        draw(
            Path(folder) / f"bench-{name}.svg",
            title,
            [row["name"] for row in shown],
            {label: [row["figures"][key] for row in shown] for label, key in series.items()},
        )


def draw(path: Path, title: str, names: Sequence[str], series: Mapping[str, Sequence[float]]) -> None:
    """Draw one chart: a group of horizontal bars per name, one bar per series."""
    height = 0.8 / len(series)
    figure, axes = pyplot.subplots(figsize=(7.5, 1.2 + 0.5 * len(names)), layout="constrained")
    for place, (label, values) in enumerate(series.items()):
        at = [row + (place - (len(series) - 1) / 2) * height for row in range(len(names))]
        bars = axes.barh(at, values, height=height, label=label, color=COLOURS[place])
        axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(title, loc="left")
    figure.legend(loc="outside lower right", ncols=len(series), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
