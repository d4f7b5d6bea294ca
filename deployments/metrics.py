"""Exports what a replica counts (`satellite/metrics.py`) through Ray: each node has one place to scrape."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ray.serve import metrics as ray

from satellite.metrics import Counter, Gauge, Histogram, Instrument, Instruments, Labels

logger = logging.getLogger("satellite.metrics")

# Ray's processes report every 10 s, and Ray forgets a gauge that was not set for 20 s.
EXPORT_S = 4.0


class Exporter:
    """Hands over to Ray, every few seconds, what was counted: handing each count over takes 8 microseconds.

    Args:
        instruments: what is counted.
        look: called before, to set what is known only when somebody looks.
    """

    def __init__(self, instruments: Instruments, look: Callable[[], None]) -> None:
        self._exports = [_export_of(instrument) for instrument in instruments]
        self._look = look
        self._task = asyncio.create_task(self._run())

    def close(self) -> None:
        """Export no more."""
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                self._look()
                for export in self._exports:
                    export()
            except Exception:
                logger.exception("Metrics could not be exported.", extra={"action": "export_failed"})
            await asyncio.sleep(EXPORT_S)


def _export_of(instrument: Instrument) -> Callable[[], None]:
    if isinstance(instrument, Gauge):
        return _GaugeExport(instrument).export
    return (_CounterExport if isinstance(instrument, Counter) else _HistogramExport)(instrument).export


class _GaugeExport:
    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._exported = ray.Gauge(gauge.name, description=gauge.help, tag_keys=gauge.labels)

    def export(self) -> None:
        for labels, value in self._gauge.values.items():
            self._exported.set(value, _named(self._gauge.labels, labels))


class _CounterExport:
    """Ray adds up what it is given. First a 0: of a series that begins at 1 a rate sees nothing."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._exported = ray.Counter(counter.name, description=counter.help, tag_keys=counter.labels)
        self._given: dict[Labels, float] = {}

    def export(self) -> None:
        for labels, value in self._counter.values.items():
            given = self._given.get(labels)
            if value != given:
                # `inc` refuses 0.
                self._exported._record(value - (given or 0), _named(self._counter.labels, labels))
                self._given[labels] = value


class _HistogramExport:
    """A histogram as what Prometheus makes of one.

    Ray's own histograms are replayed in its agent, one observation at a time and in Python: at 3,000 requests
    a second that is a tenth of a core (docs/PERFORMANCE.md), and their sum is a guess. These are gauges of
    cumulative counts, `_bucket` with its `le`, `_sum` and `_count`: `rate()` and `histogram_quantile()` work.
    """

    def __init__(self, histogram: Histogram) -> None:
        name, text, labels = histogram.name, histogram.help, histogram.labels
        self._histogram = histogram
        self._limits = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
        self._buckets = ray.Gauge(f"{name}_bucket", description=text, tag_keys=(*labels, "le"))
        self._sum = ray.Gauge(f"{name}_sum", description=text, tag_keys=labels)
        self._count = ray.Gauge(f"{name}_count", description=text, tag_keys=labels)

    def export(self) -> None:
        for labels, cells in self._histogram.cells.items():
            names = _named(self._histogram.labels, labels)
            cumulative = 0
            for limit, count in zip(self._limits, cells.counts, strict=True):
                cumulative += count
                self._buckets.set(cumulative, {**names, "le": limit})
            self._sum.set(cells.total, names)
            self._count.set(cumulative, names)


def _named(names: Labels, values: Labels) -> dict[str, str]:
    return dict(zip(names, values, strict=True))
