"""Reads the messages that processes append to the catcher's file."""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from typing import Any, BinaryIO

#: Messages that the page can show.
KEPT = 500
#: How much of the file is read at a time.
_CHUNK = 1024 * 1024


class Tail:
    """The last messages of a file, numbered from 1.

    Attributes:
        messages: Each has its ``number``; at most :data:`KEPT`.
        bad: Lines that are no message.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._inode = 0
        self._offset = 0
        self._rest = b""
        self._number = 0
        self.messages: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.bad = 0

    def read(self) -> int:
        """Read what has been appended; return how many messages were new."""
        try:
            file = self._file.open("rb")
        except FileNotFoundError:
            return 0
        found = 0
        with file:
            self._follow(file)
            while chunk := file.read(_CHUNK):
                self._offset += len(chunk)
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                found += sum(map(self._add, lines))
        return found

    def after(self, number: int) -> list[dict[str, Any]]:
        """Return the messages with a greater number, in order."""
        return [message for message in self.messages if message["number"] > number]

    def get(self, number: int) -> dict[str, Any] | None:
        """Return one message."""
        return next((message for message in self.messages if message["number"] == number), None)

    def _follow(self, file: BinaryIO) -> None:
        """Begin at the start of another file, or of one that was emptied."""
        status = os.fstat(file.fileno())
        if status.st_ino != self._inode or status.st_size < self._offset:
            self._inode, self._offset, self._rest = status.st_ino, 0, b""
        file.seek(self._offset)

    def _add(self, line: bytes) -> bool:
        try:
            message = json.loads(line)
            known = {"channel": str(message["channel"]), "message": dict(message["message"])}
        except (ValueError, KeyError, TypeError, RecursionError):
            self.bad += 1
            return False
        self._number += 1
        self.messages.append({**message, **known, "number": self._number})
        return True
