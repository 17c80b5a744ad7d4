"""Text for terminals: what cannot be shown is escaped, tables fit the screen, colour only where it is wanted."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TextIO

#: Control characters (a tenant's text must not steer the terminal), bidirectional overrides, halves of surrogate pairs.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}
_GAP = "  "
_LEAST = 8


def plain(text: object) -> str:
    """Return ``text`` on one line, with what cannot be shown written as an escape."""
    return _UNSHOWN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(text))


def encodable(text: str, stream: TextIO) -> str:
    """Return ``text`` with escapes for what the encoding of ``stream`` does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def wants_colour(stream: TextIO) -> bool:
    """Tell whether colour is welcome on ``stream``: a terminal that can, and nobody who objects (NO_COLOR)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str | None, stream: TextIO | None = None) -> str:
    """Return ``text`` in a style if the stream wants colour."""
    if not style or not text or not wants_colour(stream or sys.stdout):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def width(text: str) -> int:
    """Return how many columns ``text`` takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def cut(text: str, columns: int) -> str:
    """Return ``text`` in at most ``columns`` columns; what is left out becomes an ellipsis."""
    if width(text) <= columns:
        return text
    kept = ""
    room = columns - 1
    for char in text:
        room -= width(char)
        if room < 0:
            break
        kept += char
    return kept + "…"


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        flexible: May be cut when the terminal is too narrow; ids, which people copy, may not.
    """

    title: str
    right: bool = False
    flexible: bool = False


class Cell(NamedTuple):
    """A cell with a style."""

    text: str
    style: str | None = None


def table(columns: Sequence[Column], rows: Sequence[Sequence[object]], *, columns_wide: int | None = None) -> list[str]:
    """Return the lines of an aligned table.

    Args:
        columns: From left to right.
        rows: Cells: a :class:`Cell`, or anything with a text.
        columns_wide: The room; by default that of the terminal, and any width where there is none.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max([width(column.title), *(width(row[at].text) for row in cells)]) for at, column in enumerate(columns)]
    if columns_wide is None and sys.stdout.isatty():
        columns_wide = shutil.get_terminal_size().columns
    if columns_wide is not None:
        _shrink(widths, columns, columns_wide)
    lines = [_line([Cell(column.title, "bold") for column in columns], columns, widths)]
    return lines + [_line(row, columns, widths) for row in cells]


def _cell(value: object) -> Cell:
    if isinstance(value, Cell):
        return Cell(plain(value.text), value.style)
    return Cell("-" if value is None or value == "" else plain(value))


def _shrink(widths: list[int], columns: Sequence[Column], room: int) -> None:
    """Take from the widest flexible columns what does not fit."""
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - room
    flexible = [at for at, column in enumerate(columns) if column.flexible]
    while excess > 0 and flexible:
        widest = max(flexible, key=lambda at: widths[at])
        if widths[widest] <= _LEAST:
            return
        widths[widest] -= 1
        excess -= 1


def _line(row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for cell, column, wide in zip(row, columns, widths, strict=True):
        text = cut(cell.text, wide)
        space = " " * (wide - width(text))
        shown = styled(text, cell.style)
        parts.append(space + shown if column.right else shown + space)
    return _GAP.join(parts).rstrip()


def fields(pairs: Mapping[str, object]) -> list[str]:
    """Return aligned ``name  value`` lines; values that are ``None`` are left out."""
    shown = {name: plain(value) for name, value in pairs.items() if value is not None}
    wide = max(map(len, shown), default=0)
    return [f"{name:<{wide}}  {value}" for name, value in shown.items()]
