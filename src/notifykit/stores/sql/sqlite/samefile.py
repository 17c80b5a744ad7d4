"""Notices that the files of an open SQLite database were deleted or replaced.

A process keeps reading and writing a deleted file as if nothing had happened, and all of it is gone when the
process ends.  The same goes for the log (``-wal``) and its index (``-shm``), which hold the newest commits and
stay in place as long as any process has the database open.
"""

from __future__ import annotations

import os

from ....errors import StoreUnavailableError

_PARTS = ("", "-wal", "-shm")


class SameFile:
    """The files behind an open database in WAL mode, as they were when it was opened."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._files = [f"{path}{part}" for part in _PARTS]
        self._known = [_identity(file) for file in self._files]

    @property
    def is_there(self) -> bool:
        """Whether all files are still those that were opened."""
        return self._known == [*map(_identity, self._files)]

    def check(self) -> None:
        """Raise if a file is gone, or is another one.

        Raises:
            StoreUnavailableError: What this process writes would be lost.
        """
        for file, known in zip(self._files, self._known, strict=True):
            found = _identity(file)
            if found != known:
                raise StoreUnavailableError(
                    f"{file} was {'deleted' if found is None else 'replaced'} while this process had the database "
                    f"open: put the files of {os.path.basename(self._path)} back, or end all processes that have it "  # noqa: PTH119
                    "open and start them again"
                )


def _identity(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - before each transaction: a Path would cost twice as much
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
