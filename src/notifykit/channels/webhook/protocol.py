"""What the event loop sees of a connection."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import fcntl
    import termios

if TYPE_CHECKING:
    from .connection import Connection


_NOTHING = bytes(4)


def has_unread(fd: int) -> bool:
    """Tell whether bytes wait in the kernel that the loop has not read from this socket yet."""
    if sys.platform == "win32":
        return False
    return fcntl.ioctl(fd, termios.FIONREAD, _NOTHING) != _NOTHING


class WireProtocol(asyncio.BufferedProtocol):
    """Hands the loop a connection's own methods: a compiled class cannot be a protocol of asyncio itself."""

    __slots__ = ("buffer_updated", "connection_lost", "connection_made", "eof_received", "get_buffer")

    def __init__(self, connection: Connection) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(connection, name))
