"""Notices that any process writes to a file (Linux's ``inotify``, for which Python has no module)."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
from collections.abc import Callable

#: From ``sys/inotify.h``; see inotify(7).
_IN_MODIFY, _IN_ONESHOT = 0x2, 0x8000_0000


class FileWatch:
    """Reports the next write to a file each time that it is armed.

    Args:
        path: The file.
        tell: Called in the event loop, once for each :meth:`arm`.

    Raises:
        OSError: This is not Linux, or it has no more to give.
    """

    def __init__(self, path: str, tell: Callable[[], None]) -> None:
        if sys.platform != "linux":
            raise OSError("inotify is a part of Linux")
        self._path = os.fsencode(path)
        self._tell = tell
        #: Whether the next write is to be reported.
        self.armed = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = _checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._hear)

    def arm(self) -> None:
        """Report the next write from now on.

        Raises:
            OSError: The file cannot be watched.
        """
        if not self.armed:
            mask = ctypes.c_uint32(_IN_MODIFY | _IN_ONESHOT)
            _checked(self._libc.inotify_add_watch(self._fd, self._path, mask))
            self.armed = True

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 4096)
        if self.armed:
            self.armed = False
            self._tell()

    def close(self) -> None:
        """Give everything back."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
