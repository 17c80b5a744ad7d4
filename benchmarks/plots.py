"""Charts of results: one figure for each part, as PNG for viewing and as SVG for the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from .results import Column, Part, Row
from .tables import figure as written
from .tables import heading

_COLOURS = ("#2f6f9f", "#c46a2b", "#4c8a4c", "#8a5a99")
_OURS = _COLOURS[0]
_WIDTH, _ROW, _MARGIN = 9.0, 0.36, 1.1
#: Characters of a row's label in one line.
_LABEL = 38


def acquire(part: Part, folder: Path, *, formats: Sequence[str]) -> list[Path]:
    """Draw the columns of a part that have a chart; return the files, none if no column is.

    Args:
        formats: ``png``, ``svg``.
    """
    drawn = [column for column in part.columns if column.chart and any(column.key in row.cells for row in part.rows)]
    if not drawn:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    # The same results make the same file: no date, and ids that do not change.  Text stays text.
    with rc_context(
        {
            "svg.hashsalt": "notifykit",
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        files = []
        for kind in formats:  # each from the start: a layout that was saved once differs a little the second time
            made = _lines(part, drawn) if drawn[0].chart == "lines" else _bars(part, drawn)
            file = folder / f"{part.name}.{kind}"
            made.savefig(file, format=kind, dpi=140, metadata={"Date": None} if kind == "svg" else None)
            files.append(file)
    return files


def _figure(part: Part, height: float) -> Figure:
    made = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(made)
    made.suptitle(part.title, fontsize=11, fontweight="bold")
    return made


def _bars(part: Part, columns: Sequence[Column]) -> Figure:
    """Draw a row of bars for each column, one below the other, each bar with its figure and its ends."""
    shown = [[row for row in part.rows if column.key in row.cells] for column in columns]
    heights = [_ROW * len(rows) + _MARGIN for rows in shown]
    made = _figure(part, sum(heights) + 0.4)
    axes = made.subplots(len(columns), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axis, column, rows in zip(axes[:, 0], columns, shown, strict=True):
        _bar_chart(axis, column, rows, part.across)
    return made


def _bar_chart(axis: Any, column: Column, rows: Sequence[Row], across: str) -> None:
    spreads = [row.cells[column.key] for row in rows]
    medians = [spread.median for spread in spreads]
    below = [spread.median - spread.low for spread in spreads]
    above = [spread.high - spread.median for spread in spreads]
    places = range(len(rows))
    axis.barh(places, medians, height=0.62, color=_OURS)
    axis.errorbar(medians, places, xerr=[below, above], fmt="none", ecolor="black", elinewidth=1, capsize=3)
    most = max(spread.high for spread in spreads) or 1.0
    for place, spread in zip(places, spreads, strict=True):
        text = written(spread, column.digits)
        axis.text(spread.high + most * 0.012, place, text, va="center", fontsize=8)
    axis.set_yticks(places, [textwrap.fill(row.label, _LABEL) for row in rows])
    axis.invert_yaxis()
    axis.set_xlim(0, most * 1.42)  # room for the figures
    axis.set_xlabel(f"{heading(column)} (median; whiskers: least and most)")
    axis.set_ylabel(across)
    axis.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)


def _lines(part: Part, columns: Sequence[Column]) -> Figure:
    """Draw all columns as lines over where their rows stand."""
    made = _figure(part, 3.6)
    axis = made.subplots()
    rows = [row for row in part.rows if row.at is not None]
    places = [row.at or 0.0 for row in rows]
    for column, colour in zip(columns, _COLOURS, strict=False):
        spreads = [row.cells[column.key] for row in rows]
        medians = [spread.median for spread in spreads]
        axis.errorbar(
            places, medians,
            yerr=[[s.median - s.low for s in spreads], [s.high - s.median for s in spreads]],
            marker="o", color=colour, capsize=3, label=heading(column),
        )  # fmt: skip
        for place, value in zip(places, medians, strict=True):
            axis.annotate(
                f"{value:,.{column.digits}f}", (place, value), xytext=(0, 6), textcoords="offset points",
                ha="center", fontsize=8, color=colour,
            )  # fmt: skip
    axis.margins(y=0.15)
    axis.set_ylim(bottom=0)
    axis.set_xlim(left=0)
    axis.set_xlabel(part.across)
    axis.set_ylabel(" / ".join(sorted({column.unit for column in columns})))
    axis.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axis.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.legend(frameon=False)
    return made


def _thousands(value: float, _: object) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2g}"
