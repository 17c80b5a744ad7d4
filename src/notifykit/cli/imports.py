"""Commands that read a file line by line, and name every line that is wrong."""

from __future__ import annotations

import io
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import FAILED, OK, UsageError
from .parser import Parser
from .progress import Progress
from .text import plain

if TYPE_CHECKING:
    from ..admin import ImportReport
    from ..kit import Notifykit
    from .context import Context

#: Imports lines into a kit, given their format and what is called with the report so far.
Importer = Callable[["Notifykit", Any, str, Callable[["ImportReport"], None]], Awaitable["ImportReport"]]


def add_file(parser: Parser) -> None:
    """Add the arguments that name the file."""
    parser.add_argument("file", metavar="FILE", help="its name, or - for stdin")
    parser.add_argument("--format", choices=("jsonl", "csv"), help="by default what the name ends in, else jsonl")


async def import_file(context: Context, what: str, run: Importer) -> int:
    """Import the lines of the file, and report them.

    Args:
        what: What is saved, as the report calls it.
    """
    args = context.args
    format_ = args.format or ("csv" if args.file.lower().endswith(".csv") else "jsonl")
    progress = Progress(what)
    with _lines_of(args.file) as lines:
        async with context.open(create=True) as kit:
            report = await run(kit, lines, format_, lambda so_far: progress.show(_counted(so_far, what)))
    progress.clear()
    for line, problem in report.problems:
        context.out.record({"line": line, "problem": problem})
        if not context.out.json:
            context.out.note(f"line {line}: {plain(problem)}")
    context.out.answer(
        {"lines": report.lines, "saved": report.saved, "wrong": len(report.problems)},
        f"Imported: {_counted(report, what)}",
    )
    return FAILED if report.problems else OK


def _counted(report: ImportReport, what: str) -> str:
    wrong = f", {len(report.problems):,} wrong" if report.problems else ""
    return f"{report.lines:,} lines read, {report.saved:,} {what} saved{wrong}"


@contextmanager
def _lines_of(name: str) -> Iterator[Any]:
    """Open a file, or stdin; bytes that are not UTF-8 arrive as lone surrogates, which make their line wrong.

    Raises:
        UsageError: It cannot be read.
    """
    options: Any = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}
    if name == "-":
        yield io.TextIOWrapper(sys.stdin.buffer, **options)
        return
    try:
        file = Path(name).open(**options)  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {plain(name[:80])}: {inputs.unreadable(error)}; give a FILE or -") from error
    with file:
        yield file
