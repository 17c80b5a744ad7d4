"""Results as text: for a terminal, and for a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from .results import Column, Finding, Part, Row, Spread

_NOTHING = "–"


def figure(value: Spread | None, digits: int = 0) -> str:
    """Return a figure with its ends: ``9,859 (9,101–10,220)``."""
    if value is None:
        return _NOTHING
    text = f"{value.median:,.{digits}f}"
    low, high = f"{value.low:,.{digits}f}", f"{value.high:,.{digits}f}"
    return text if low == high else f"{text} ({low}–{high})"


def heading(column: Column) -> str:
    """Return a column's title with its unit."""
    return f"{column.title} [{column.unit}]" if column.unit else column.title


def verdict(finding: Finding) -> str:
    """Return a finding as a sentence."""
    text = f"{finding.what}: {figure(finding.value, finding.digits)}{finding.unit and ' ' + finding.unit}"
    if finding.at_most is not None:
        text += f"; wanted at most {finding.at_most:g}"
    elif finding.at_least is not None:
        text += f"; wanted at least {finding.at_least:g}"
    else:
        return text
    return f"{text}: {'kept' if finding.is_kept else 'NOT KEPT'}"


def _columns(part: Part) -> list[Column]:
    return [column for column in part.columns if any(column.key in row.cells for row in part.rows)]


def _texts(part: Part) -> tuple[list[str], list[list[str]]]:
    columns = _columns(part)
    notes = any(row.note for row in part.rows)
    titles = [part.across or part.name, *map(heading, columns), *(["note"] if notes else [])]
    lines = [_line(row, columns) + ([row.note] if notes else []) for row in part.rows]
    return titles, lines


def _line(row: Row, columns: Sequence[Column]) -> list[str]:
    return [row.label, *(figure(row.cells.get(column.key), column.digits) for column in columns)]


def plain(part: Part) -> str:
    """Return a part for a terminal."""
    titles, lines = _texts(part)
    widths = [max(map(len, column)) for column in zip(titles, *lines, strict=True)]
    has_notes = titles[-1] == "note"
    table = "\n".join(
        "  ".join(
            text.ljust(width) if at == 0 or (has_notes and at == len(widths) - 1) else text.rjust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [titles, ["-" * width for width in widths], *lines]
    )
    findings = "".join(f"\n* {verdict(finding)}" for finding in part.findings)
    return f"\n== {part.title}\n{part.about}\n\n{table}{findings}"


def markdown(part: Part) -> str:
    """Return a part's table and findings for the documentation."""
    titles, lines = _texts(part)
    marks = ["---", *("---:" for _ in titles[1:])]
    if titles[-1] == "note":
        marks[-1] = "---"
    rows = [titles, marks, *lines]
    table = "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows)
    findings = "\n".join(f"- {verdict(finding)}" for finding in part.findings)
    return table + (f"\n\n{findings}" if findings else "")
