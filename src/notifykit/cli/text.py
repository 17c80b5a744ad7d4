"""Text for terminals: escapes for control characters, tables that fit the screen, and colour on terminals."""

from __future__ import annotations

import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple, TextIO

#: Control characters (text of a tenant must not control the terminal), bidirectional overrides, lone surrogates.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}
_GAP = "  "
#: The smallest width to which sentences are wrapped.
_LEAST = 30


def plain(text: object) -> str:
    """Return ``text`` on one line, with escapes for characters that cannot be shown."""
    return _UNSHOWN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(text))


def encodable(text: str, stream: TextIO) -> str:
    """Return ``text`` with escapes for characters that the encoding of ``stream`` does not have."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def wants_colour(stream: TextIO) -> bool:
    """Return whether ``stream`` is a terminal that supports colour, and ``NO_COLOR`` is not set."""
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
    """Return ``text`` in at most ``columns`` columns; an ellipsis replaces the rest."""
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


def wrapped(text: str, columns: int) -> list[str]:
    """Return ``text`` in lines of at most ``columns`` columns; a longer word stays whole, so that it can be copied."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and width(lines[-1]) + 1 + width(word) <= columns:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        wraps: Whether the text may be broken at blanks: sentences may, ids and addresses, which users copy, may not.
    """

    title: str
    right: bool = False
    wraps: bool = False


class Cell(NamedTuple):
    """A cell with a style."""

    text: str
    style: str | None = None


def table(columns: Sequence[Column], rows: Sequence[Sequence[object]], *, columns_wide: int | None = None) -> list[str]:
    """Return the lines of an aligned table.

    Nothing is cut: columns that do not fit are continued on the next line, indented.

    Args:
        columns: The columns, from left to right.
        rows: The cells: a :class:`Cell`, or any object with a text.
        columns_wide: The width; by default that of the terminal, and unlimited without a terminal.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max([width(column.title), *(width(row[at].text) for row in cells)]) for at, column in enumerate(columns)]
    if columns_wide is None and sys.stdout.isatty():
        columns_wide = shutil.get_terminal_size().columns
    parts = _parts(columns, widths, columns_wide) if columns_wide is not None else [list(range(len(columns)))]
    title = [Cell(column.title, "bold") for column in columns]
    return [line for row in [title, *cells] for line in _row(row, parts, columns, widths)]


def _cell(value: object) -> Cell:
    if isinstance(value, Cell):
        return Cell(plain(value.text), value.style)
    return Cell("-" if value is None or value == "" else plain(value))


def _parts(columns: Sequence[Column], widths: list[int], room: int) -> list[list[int]]:
    """Return which columns share a line; a column that wraps is made narrower if that is enough."""
    parts: list[list[int]] = [[]]
    left = room
    for at, column in enumerate(columns):
        gap = len(_GAP) if parts[-1] else 0
        if widths[at] + gap > left and not (column.wraps and left - gap >= _LEAST) and parts[-1]:
            parts.append([])
            left, gap = room - len(_GAP), 0
        parts[-1].append(at)
        if column.wraps:
            widths[at] = min(widths[at], max(left - gap, _LEAST))
        left -= widths[at] + gap
    return parts


def _row(
    row: Sequence[Cell], parts: Sequence[Sequence[int]], columns: Sequence[Column], widths: Sequence[int]
) -> Iterator[str]:
    """Yield the lines of a row; continuation lines without text are omitted."""
    for number, part in enumerate(parts):
        if number and all(row[at].text in ("", " ", "-") for at in part):
            continue
        texts = [wrapped(row[at].text, widths[at]) if columns[at].wraps else [row[at].text] for at in part]
        for broken in zip_longest(*texts, fillvalue=""):
            cells = [Cell(text, row[at].style) for text, at in zip(broken, part, strict=True)]
            line = _line(cells, [columns[at] for at in part], [widths[at] for at in part])
            yield (_GAP if number else "") + line


def _line(row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for cell, column, wide in zip(row, columns, widths, strict=True):
        space = " " * (wide - width(cell.text))
        shown = styled(cell.text, cell.style)
        parts.append(space + shown if column.right else shown + space)
    return _GAP.join(parts).rstrip()


def fields(pairs: Mapping[str, object]) -> list[str]:
    """Return aligned ``name  value`` lines; values that are ``None`` are omitted."""
    shown = {name: plain(value) for name, value in pairs.items() if value is not None}
    wide = max(map(len, shown), default=0)
    return [f"{name:<{wide}}  {value}" for name, value in shown.items()]
