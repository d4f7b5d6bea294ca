"""What a load found: figures, what was wanted of them, and whether it was so."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

MARKS = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a report.

    Attributes:
        what: what was looked at.
        measured: the figures as text.
        wanted: what they should be, as text; empty if nothing was promised.
        met: whether they are; None if nothing was promised.
        figures: the figures as numbers, with units in their names.
    """

    what: str
    measured: str
    wanted: str = ""
    met: bool | None = None
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one load found."""

    name: str
    title: str
    findings: tuple[Finding, ...]

    @property
    def met(self) -> bool:
        return all(finding.met is not False for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "met": self.met}

    def add_to(self, table: Table) -> None:
        """Add its lines to a table of four columns."""
        table.add_section()
        table.add_row(f"[bold]{self.name}[/]: {self.title}", "", "", "")
        for finding in self.findings:
            table.add_row(f"  {finding.what}", finding.measured, finding.wanted, MARKS[finding.met])


def quantile(values: Sequence[float], percent: int) -> float:
    """The value below which so many percent lie; of few values the nearest there is."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
