"""Scores `anomaly_detector` beside a rolling z-score, on anomalies that people marked and on injected ones.

    python -m models.training.evaluate_anomaly_detector [--nab FOLDER] [--m4 FOLDER]

Two labelled series are downloaded inside packages. FOLDER is a copy of the Numenta Anomaly Benchmark's
repository, and the folder of the M4 competition's training files.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.anomaly_detector import AnomalyDetector
from models.training.anomalies import CHOSEN, LONGEST, SCORED, put_anomalies_into, read_series
from models.training.detection import adjusted, auc, f1, rolling_z
from models.training.labelled import Labelled, download_mitdb, download_ucr, read_nab
from satellite.artifacts import Artifact, open_folder
from satellite.model import ModelInput

Array = NDArray[np.float64]
# The z-score's best window and threshold, chosen where the detector's threshold was chosen.
Z_WINDOWS = (8, 16, 32, 64, 128, 256)
THRESHOLDS = tuple(np.round(np.exp(np.linspace(np.log(1.1), np.log(20), 60)), 2).tolist())
INJECTED_SEEDS = {CHOSEN: 1, SCORED: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Means over the series of one set.

    Attributes:
        auc: area under the ROC curve; 0.5 is guessing.
        f1: over single points, at the threshold in use.
        f1_adjusted: the same with every anomaly counted as found whole once a point of it is.
        f1_best: over single points, at the threshold that suits each series best: what the scores are good
            for if somebody tunes them.
    """

    auc: float
    f1: float
    f1_adjusted: float
    f1_best: float


def measure(judged: Sequence[tuple[Array, NDArray[np.bool_]]], threshold: float) -> Detection:
    """Score one method on one set: for each series its scores and its labels."""
    flagged = [(scores > threshold, labels) for scores, labels in judged]
    shares = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998)
    best = [max(f1(s > t, labels) for t in np.quantile(s, shares)) for s, labels in judged]
    return Detection(
        auc=float(np.mean([auc(scores, labels) for scores, labels in judged])),
        f1=float(np.mean([f1(flags, labels) for flags, labels in flagged])),
        f1_adjusted=float(np.mean([f1(adjusted(flags, labels), labels) for flags, labels in flagged])),
        f1_best=float(np.mean(best)),
    )


def choose_threshold(judged: Sequence[tuple[Array, NDArray[np.bool_]]]) -> tuple[float, float]:
    """The threshold with the highest mean F1 over single points, and that F1."""
    means = [np.mean([f1(scores > t, labels) for scores, labels in judged]) for t in THRESHOLDS]
    best = int(np.argmax(means))
    return THRESHOLDS[best], float(means[best])


def detector_scores(model: AnomalyDetector) -> Callable[[Array], Array]:
    """The scores as callers get them."""

    def scores(points: Array) -> Array:
        (outcome,) = model.infer_batch([ModelInput(data=points.tolist(), config=model.Config())])
        return np.array(outcome.scores)

    return scores


def choose_z(series: Sequence[Labelled]) -> tuple[int, float]:
    """The rolling z-score's window and threshold with the highest mean F1."""
    choices = {
        window: choose_threshold([(rolling_z(one.points, window), one.labels) for one in series])
        for window in Z_WINDOWS
    }
    window = max(choices, key=lambda window: choices[window][1])
    return window, choices[window][0]


def injected(folder: Path, part: tuple[int, ...]) -> list[Labelled]:
    """M4 series that were not trained on, with anomalies put into their last 1,000 points."""
    series = put_anomalies_into(read_series(folder, part, LONGEST), INJECTED_SEEDS[part])
    return [
        Labelled(name=str(place), points=points, labels=labels)
        for place, (points, labels) in enumerate(series)
    ]


def read_sets(nab: Path | None, m4: Path | None) -> dict[str, list[Labelled]]:
    """The sets that can be had: two single series always, the others from their folders."""
    sets = {series.name: [series] for series in (download_ucr(), download_mitdb())}
    if nab:
        sets = {f"NAB, {len(read_nab(nab))} real series": read_nab(nab), **sets}
    if m4:
        sets["M4, injected"] = injected(m4, SCORED)
    return sets


def evaluate(
    model: AnomalyDetector, sets: dict[str, list[Labelled]], z: tuple[int, float]
) -> dict[str, dict[str, Detection]]:
    """Score the detector and the z-score (its window and threshold) on all sets.

    Returns:
        The scores by set and method.
    """
    own = detector_scores(model)
    return {
        name: {
            "model": measure([(own(one.points), one.labels) for one in series], model.Config().threshold),
            "rolling z-score": measure([(rolling_z(one.points, z[0]), one.labels) for one in series], z[1]),
        }
        for name, series in sets.items()
    }


def as_text(table: dict[str, dict[str, Detection]]) -> str:
    """The scores as a Markdown table."""
    lines = [
        "| set | method | AUC | F1 | F1, point-adjusted | F1, best threshold |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in table.items():
        for method, row in rows.items():
            values = " | ".join(f"{value:.3f}" for value in (row.auc, row.f1, row.f1_adjusted, row.f1_best))
            lines.append(f"| {name} | {method} | {values} |")
    return "\n".join(lines)


def read_choice(artifact: Artifact) -> tuple[dict[str, Any], dict[str, dict[str, Detection]]]:
    """What the manifest of the weights says: the thresholds chosen, and the scores as they were then."""
    metrics = {
        name: {method: Detection(**row) for method, row in rows.items()}
        for name, rows in artifact.manifest.metrics.items()
    }
    return artifact.manifest.about["choice"], metrics


def main() -> None:
    """Print the table for the weights in use."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nab", type=Path, help="folder of the Numenta Anomaly Benchmark")
    parser.add_argument("--m4", type=Path, help="folder of the M4 training files")
    options = parser.parse_args()
    model = AnomalyDetector()
    artifact = open_folder(model.artifacts / model.version)
    model.load("cpu", artifact)
    choice, _ = read_choice(artifact)
    z = (choice["z_window"], choice["z_threshold"])
    print(as_text(evaluate(model, read_sets(options.nab, options.m4), z)))


if __name__ == "__main__":
    main()
