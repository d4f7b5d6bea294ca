"""The store as history grows: what callers wait for must not depend on how much there is."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import store
from benchmarks.scenarios.result import Finding, Result

LIMIT = 1.2  # times what it takes in an empty table
PAGE_MS = 50.0  # a page of a list at its p99
CALLS = ("submit", "claim", "result")
PAGE = "list: newest"


def run(counts: list[int]) -> Result:
    """Measure at every size, the empty one first."""
    empty, *grown = store.measure_sizes([0, *counts])
    findings = [_rate(empty, empty), *(_rate(size, empty) for size in grown)]
    for call in CALLS:
        findings += [_call(call, size, empty) for size in (empty, *grown)]
    findings += [_page(size) for size in (empty, *grown)]
    return Result(name="growth", title="the store by how many jobs it holds", findings=tuple(findings))


def _rate(size: store.AtSize, empty: store.AtSize) -> Finding:
    ratio = empty.jobs_per_s / size.jobs_per_s
    return Finding(
        what=f"submit and complete, {size.rows:,} stored",
        measured=f"{size.jobs_per_s:,.0f} jobs/s" + ("" if size is empty else f": {ratio:.2f} times"),
        figures={"rows": size.rows, "jobs_per_s": size.jobs_per_s, "ratio": ratio},
    )


def _time(call: str, size: store.AtSize) -> Finding:
    p50, p99 = size.quantile_ms(call, 50), size.quantile_ms(call, 99)
    return Finding(
        what=f"{call}, {size.rows:,} stored",
        measured=f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        figures={"rows": size.rows, "p50_ms": p50, "p99_ms": p99},
    )


def _call(call: str, size: store.AtSize, empty: store.AtSize) -> Finding:
    found = _time(call, size)
    if size is empty:
        return found
    ratio = size.quantile_ms(call, 50) / empty.quantile_ms(call, 50)
    return replace(
        found,
        measured=f"{found.measured}: {ratio:.2f} times",
        wanted=f"< {LIMIT:g} times",
        met=ratio < LIMIT,
        figures={**found.figures, "ratio": ratio},
    )


def _page(size: store.AtSize) -> Finding:
    met = size.quantile_ms(PAGE, 99) < PAGE_MS
    return replace(_time(PAGE, size), wanted=f"< {PAGE_MS:g} ms", met=met)
