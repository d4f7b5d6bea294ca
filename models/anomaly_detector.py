"""Finds what does not fit in a series: an LSTM autoencoder, its weights in `models/artifacts`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from satellite.artifacts import Artifact
from satellite.errors import VersionFailed
from satellite.model import ModelInput, register_model
from satellite.series import Point

FEWEST_POINTS, MOST_POINTS = 8, 100_000
# Chosen on M4 series with anomalies put into them: see docs/models/anomaly_detector.md.
WINDOW, THRESHOLD = 24, 1.98


@register_model("anomaly_detector")
class AnomalyDetector:
    """Scores every point of a series by how badly a neural network can rebuild its surroundings.

    One LSTM autoencoder, trained once on hourly and weekly series of the M4 competition, squeezes windows of
    yours into a few numbers and rebuilds them: what is usual for a series comes back, a spike, a jump or a
    stretch of another shape does not. A score is the distance between a point and its rebuilt value, over the
    median of these distances in the series itself, so it means the same in any unit.
    """

    version = "1.0.0"
    Input = Annotated[
        list[Point],
        Field(
            min_length=FEWEST_POINTS,
            max_length=MOST_POINTS,
            description="Observations, oldest first, evenly spaced in time.",
        ),
    ]
    artifacts = Path(__file__).parent / "artifacts" / "anomaly_detector"

    class Config(BaseModel, extra="forbid"):
        """Settings of one request."""

        window: int = Field(
            WINDOW,
            ge=8,
            le=96,
            description="How many points are looked at together. Longer windows see longer anomalies.",
        )
        threshold: float = Field(
            THRESHOLD,
            gt=0,
            le=1e6,
            description="The score above which a point is an anomaly. Lower finds more, right and wrong.",
        )
        quantile: float | None = Field(
            None,
            gt=0,
            lt=1,
            description="If given, the threshold is this quantile of the scores of the series itself: with "
            "0.99 the highest hundredth is flagged, whether anything is unusual or not.",
        )

    class Output(BaseModel):
        """The points of one series, judged."""

        scores: list[float] = Field(description="One value per point, 0 or more; 1 is usual.")
        threshold: float = Field(description="The score above which a point is an anomaly.")
        anomalies: list[int] = Field(description="The places of the anomalies, rising; the first point is 0.")

    example: ClassVar[dict[str, Any]] = {
        "data": [3.1, 4.2, 3.0, 4.1, 3.2, 4.0, 3.1, 4.1, 3.0, 9.5, 3.1, 4.2, 3.2, 4.1, 3.0, 4.2, 3.1, 4.0],
        "config": {"threshold": 5.0},
    }

    def load(self, device: str, artifact: Artifact) -> None:
        """Read the weights.

        Args:
            device: "cpu" or "cuda".
            artifact: the weights, with the network's `hyper` in their manifest.

        Raises:
            VersionFailed: they are no weights of this network.
        """
        from models.nets import autoencoder

        state = artifact.tensors(device)
        try:
            hyper = autoencoder.Hyper(**artifact.manifest.about["hyper"])
            net = autoencoder.LSTMAutoencoder(hyper).to(device)
            net.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError) as error:
            raise VersionFailed(f"{artifact.folder}: the weights do not fit the network: {error}") from error
        self._net = net.eval()
        self._score = autoencoder.score_series

    def infer_batch(self, inputs: Sequence[ModelInput]) -> list[Output]:
        """Score each series; the windows of one are computed together."""
        return [self._judge(item.data, item.config) for item in inputs]

    def _judge(self, data: list[float], config: Config) -> Output:
        series = np.asarray(data, dtype=np.float64)
        # Sums of squares of 1e30 fit a double only just.
        scores = self._score(self._net, series / (float(np.abs(series).max()) or 1.0), config.window)
        threshold = (
            config.threshold if config.quantile is None else float(np.quantile(scores, config.quantile))
        )
        return self.Output(
            # What differs in the fifth digit does not differ, and 100,000 long numbers are a long answer.
            scores=[float(f"{score:.5g}") for score in scores],
            threshold=threshold,
            anomalies=np.flatnonzero(scores > threshold).tolist(),
        )
