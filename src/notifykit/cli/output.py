"""The output of a command: text for a terminal, or JSON lines for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from .text import Column, encodable, table


class Output:
    """Writes results to stdout and remarks to stderr.

    Attributes:
        json: Whether results are JSON, one object on each line; remarks are always text.
    """

    def __init__(self, *, json: bool = False) -> None:
        self.json = json

    def line(self, text: str = "") -> None:
        """Write a line of text; nothing in JSON mode."""
        if not self.json:
            self._write(text)

    def lines(self, texts: Iterable[str]) -> None:
        """Write lines of text; nothing in JSON mode."""
        for text in texts:
            self.line(text)

    def record(self, value: Any) -> None:
        """Write one JSON line; nothing in text mode."""
        if self.json:
            # Pure ASCII is valid in every locale, even for lone surrogates.
            self._write(json.dumps(value, ensure_ascii=True, separators=(", ", ": ")))

    def answer(self, value: Any, text: str) -> None:
        """Write one result, as JSON or as text."""
        self.record(value)
        self.line(text)

    def rows(self, records: Iterable[Any], columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
        """Write a table, or a JSON line for each of ``records``."""
        if self.json:
            for value in records:
                self.record(value)
        elif rows:
            self.lines(table(columns, rows))

    def note(self, text: str) -> None:
        """Write a remark that is not part of the result."""
        print(encodable(text, sys.stderr), file=sys.stderr, flush=True)

    def _write(self, text: str) -> None:
        print(encodable(text, sys.stdout), flush=True)
