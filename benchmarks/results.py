"""What a benchmark found: plain values that are printed, plotted, saved and loaded.

A part (the main job, an axis …) is a table.  It defines its own columns, its target figures and which
of its columns get a chart, so that printing and plotting are independent of benchmarks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal, Self

import attrs
import cattrs

FORMAT = 1


@attrs.frozen
class Spread:
    """A figure over several runs."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the middle and the ends of some figures."""
        known = sorted(values)
        return cls(median(known), known[0], known[-1])


@attrs.frozen(kw_only=True)
class Column:
    """One kind of figure.

    Attributes:
        chart: How it is drawn; ``None`` is not at all.
    """

    key: str
    title: str
    unit: str = ""
    digits: int = 0
    chart: Literal["bars", "lines"] | None = None


@attrs.frozen(kw_only=True)
class Row:
    """What was measured under one condition.

    Attributes:
        at: Where the row stands on the axis of a line chart.
        note: A remark for readers: why there are no figures, which settings.
    """

    label: str
    cells: Mapping[str, Spread] = attrs.field(factory=dict)
    at: float | None = None
    note: str = ""


@attrs.frozen(kw_only=True)
class Finding:
    """A figure that a promise was made about.

    Attributes:
        at_most: The promise; or
        at_least: the promise.
    """

    what: str
    value: Spread
    unit: str = ""
    digits: int = 2
    at_most: float | None = None
    at_least: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the figure keeps the promise."""
        return (self.at_most is None or self.value.median <= self.at_most) and (
            self.at_least is None or self.value.median >= self.at_least
        )


@attrs.frozen(kw_only=True)
class Part:
    """One table of results.

    Attributes:
        about: What was done and how, for readers of the table.
        across: What the labels of the rows are; the axis of a line chart.
        measured: When, and by which command.
    """

    name: str
    title: str
    about: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    findings: Sequence[Finding] = ()
    across: str = ""
    measured: str = ""


@attrs.frozen(kw_only=True)
class Results:
    """All that one run of the suite found.

    Attributes:
        machine: Where it ran: name to value.
        command: What was asked for.
    """

    machine: Mapping[str, str]
    command: str
    parts: Sequence[Part] = ()
    format: int = FORMAT

    def with_part(self, part: Part) -> Results:
        """Return these results with ``part`` in its place, or behind all others."""
        names = [old.name for old in self.parts]
        if part.name in names:
            return attrs.evolve(self, parts=[part if old.name == part.name else old for old in self.parts])
        return attrs.evolve(self, parts=[*self.parts, part])

    def write(self, path: Path) -> None:
        """Write them as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_converter.unstructure(self), indent=1, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read what :meth:`write` wrote.

        Raises:
            ValueError: It was written by another version of this suite.
        """
        found = json.loads(path.read_text("utf-8"))
        if found.get("format") != FORMAT:
            raise ValueError(f"{path} has format {found.get('format')}, this suite reads {FORMAT}: measure again")
        return _converter.structure(found, cls)


_converter = cattrs.Converter()


def cells(runs: Sequence[Mapping[str, Any]], columns: Iterable[Column]) -> dict[str, Spread]:
    """Return what several runs of the same thing found; figures that a run does not know are left out."""
    made = {}
    for column in columns:
        values = [run.get(column.key) for run in runs]
        known = [float(value) for value in values if value is not None and not math.isnan(value)]
        if known:
            made[column.key] = Spread.of(known)
    return made


def ratio(above: Sequence[Mapping[str, Any]], below: Sequence[Mapping[str, Any]], key: str) -> Spread:
    """Return how two conditions compare, round by round: changes between rounds affect both."""
    return Spread.of(a[key] / b[key] for a, b in zip(above, below, strict=True) if b[key])
