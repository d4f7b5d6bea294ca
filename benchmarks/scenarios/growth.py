"""The store as history grows: what callers wait for must not depend on how much there is."""

from __future__ import annotations

from benchmarks import store
from benchmarks.scenarios.result import Finding, Result

LIMIT = 2.0  # times slower than an empty table
CALLS = ("submit", "claim", "result", "list: newest")


def run(counts: list[int]) -> Result:
    """Measure at every size, the empty one first."""
    empty, *grown = store.measure_sizes([0, *counts])
    findings = [_rate(empty, empty), *(_rate(size, empty) for size in grown)]
    for call in CALLS:
        findings += [_time(call, size, empty) for size in (empty, *grown)]
    return Result(name="growth", title="the store by how many jobs it holds", findings=tuple(findings))


def _rate(size: store.AtSize, empty: store.AtSize) -> Finding:
    ratio = empty.jobs_per_s / size.jobs_per_s
    return _finding(
        f"submit and complete, {size.rows:,} stored",
        f"{size.jobs_per_s:,.0f} jobs/s",
        ratio,
        is_base=size is empty,
        figures={"rows": size.rows, "jobs_per_s": size.jobs_per_s},
    )


def _time(call: str, size: store.AtSize, empty: store.AtSize) -> Finding:
    p50, p99 = size.quantile_ms(call, 50), size.quantile_ms(call, 99)
    return _finding(
        f"{call}, {size.rows:,} stored",
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        p50 / empty.quantile_ms(call, 50),
        is_base=size is empty,
        figures={"rows": size.rows, "p50_ms": p50, "p99_ms": p99},
    )


def _finding(what: str, measured: str, ratio: float, *, is_base: bool, figures: dict[str, float]) -> Finding:
    if is_base:
        return Finding(what=what, measured=measured, figures=figures)
    return Finding(
        what=what,
        measured=f"{measured}: {ratio:.2f} times",
        wanted=f"< {LIMIT:g} times",
        met=ratio < LIMIT,
        figures={**figures, "ratio": ratio},
    )
