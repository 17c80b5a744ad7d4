"""Reading the lines of an import one by one: what each says, or what is wrong with it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import attrs

from ..codec import loads
from ..errors import InvalidInputError
from ..models import checks

#: Lines whose records are saved in one transaction.
BATCH = 500
#: The number of a line, and what it says or (as a text) what is wrong with it.
Said = tuple[int, dict[str, Any] | str]


class LineProblem(NamedTuple):
    """A line that was not imported.

    Attributes:
        line: Its number, from 1.
        problem: What is wrong with it.
    """

    line: int
    problem: str


@attrs.define(kw_only=True)
class ImportReport:
    """What became of an import so far.

    Attributes:
        lines: How many lines with something on them were read.
        saved: How many records are new or were changed.
        problems: The lines that were not imported, in their order.
    """

    lines: int = 0
    saved: int = 0
    problems: list[LineProblem] = attrs.field(factory=list)


def json_objects(lines: Iterable[str]) -> Iterator[Said]:
    """Read lines of JSON."""
    for number, line in enumerate(lines, 1):
        if (wrong := checks.string(line)) is not None:
            yield number, wrong
        elif line.strip():
            yield number, _json_object(line)


def _json_object(line: str) -> dict[str, Any] | str:
    try:
        said = loads(line.encode())
    except ValueError as error:
        return "is not UTF-8" if isinstance(error, UnicodeError) else f"is not JSON ({str(error)[:100]})"
    return said if isinstance(said, dict) else "must be a JSON object"


def csv_rows(lines: Iterable[str], check: Callable[[Sequence[str]], list[str]]) -> Iterator[Said]:
    """Read rows of CSV below a header; blank rows are left out.

    Args:
        check: Returns what is wrong with the header.

    Raises:
        InvalidInputError: The header is wrong.
    """
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise InvalidInputError([f"header: is not CSV ({error})"]) from error
    problems = check(header) + (["header: has a column twice"] if len({*header}) < len(header) else [])
    if problems:
        raise InvalidInputError(problems)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, f"is not CSV ({error})"
            continue
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            yield number, f"has {len(row)} cells, and the header {len(header)}"
        else:
            yield number, dict(zip(header, row, strict=True))
