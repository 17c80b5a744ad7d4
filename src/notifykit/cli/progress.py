"""Progress on stderr: one changing line on a terminal, else a line every few seconds."""

from __future__ import annotations

import shutil
import sys
import time

from .text import cut, encodable


class Progress:
    """Shows the progress of a command.

    Args:
        name: The prefix of each line without a terminal.
        every: Seconds between two lines without a terminal.
    """

    def __init__(self, name: str, *, every: float = 5.0) -> None:
        self._name = name
        self._live = sys.stderr.isatty()
        self._pause = 0.1 if self._live else every
        self._next = time.monotonic() + (0 if self._live else every)
        self._shown = False

    def show(self, text: str) -> None:
        """Show ``text`` unless the last text was shown too recently."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._pause
        text = encodable(text, sys.stderr)
        if self._live:
            print(f"\r\x1b[K{cut(text, shutil.get_terminal_size().columns - 1)}", end="", file=sys.stderr, flush=True)
            self._shown = True
        else:
            print(f"{self._name}: {text}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Remove the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
