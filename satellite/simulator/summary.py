"""What came of a run: counts, latencies, scores."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from satellite.simulator.readings import Reading
from satellite.simulator.scores import Scores
from satellite.simulator.sinks import Ending

PERCENTILES = (50, 90, 99)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and the largest, by nearest rank: each was measured. Empty without values."""
    if not values:
        return {}
    ordered = np.sort(np.asarray(values, np.float64))
    ranks = {f"p{share}": -(-len(ordered) * share // 100) - 1 for share in PERCENTILES}
    return {name: float(ordered[rank]) for name, rank in ranks.items()} | {"max": float(ordered[-1])}


class Summary:
    """Counts one run.

    Latencies begin when a request was due, not when it left: where the sender or the system falls behind,
    they hold what a caller would have waited. How far the sender itself was behind is `late_s`.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.accepted = 0
        self.not_sent = 0  # too many others were open
        self.gap_points = 0
        self.rejected = Counter[str]()  # by the code of the error
        self.ended = Counter[str]()  # by status
        self.lost = Counter[str]()  # accepted, and the result could not be read: by the code of the error
        self.retried = Counter[str]()  # calls that failed for a passing reason, by code
        self.scores = Scores()
        self.late_s, self.submit_s, self.end_to_end_s = array("d"), array("d"), array("d")
        self.sending_s = 0.0  # until the last request left
        self.took_s = 0.0  # until the last answer came

    def note_sent(self, reading: Reading, late_s: float) -> None:
        """A request has left, so long after it was due."""
        self.sent += 1
        self.gap_points += reading.missing
        self.late_s.append(late_s)

    def note_accepted(self, after_s: float) -> None:
        """It was accepted, so long after it was due."""
        self.accepted += 1
        self.submit_s.append(after_s)

    def note_failed(self, code: str, *, accepted: bool) -> None:
        """It was not accepted, or what became of it could not be read."""
        (self.lost if accepted else self.rejected)[code] += 1

    def note_ended(self, reading: Reading, ending: Ending, after_s: float) -> None:
        """It has ended, so long after it was due."""
        self.ended[ending.status] += 1
        self.end_to_end_s.append(after_s)
        if ending.output is not None:
            self.scores.add(reading, ending.output)

    @property
    def unanswered(self) -> int:
        """Sent, and neither accepted nor rejected yet."""
        return self.sent - self.accepted - self.rejected.total()

    @property
    def unfinished(self) -> int:
        """Accepted, and not ended yet."""
        return self.accepted - self.ended.total() - self.lost.total()

    def as_dict(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "sending_s": self.sending_s,
            "took_s": self.took_s,
            "sent": self.sent,
            "sent_per_s": self.sent / self.sending_s if self.sending_s else None,
            "not_sent": self.not_sent,
            "accepted": self.accepted,
            "rejected": dict(sorted(self.rejected.items())),
            "unanswered": self.unanswered,
            "ended": dict(sorted(self.ended.items())),
            "lost": dict(sorted(self.lost.items())),
            "unfinished": self.unfinished,
            "retried": dict(sorted(self.retried.items())),
            "gap_points": self.gap_points,
            "late_s": percentiles(self.late_s),
            "submit_s": percentiles(self.submit_s),
            "end_to_end_s": percentiles(self.end_to_end_s),
            **self.scores.as_dict(),
        }
