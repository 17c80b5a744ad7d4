"""What the event loop sees of a connection."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if sys.platform != "win32":
    import select

if TYPE_CHECKING:
    from .connection import Connection


def looking_for_unread(fd: int) -> Callable[[int], object]:
    """Return a function that, called with 0, returns whether a socket has unread input: bytes, or its end."""
    if sys.platform == "win32":
        return lambda _: None
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return poll.poll


class WireProtocol(asyncio.BufferedProtocol):
    """Hands the loop a connection's own methods: a compiled class cannot be a protocol of asyncio itself."""

    __slots__ = ("buffer_updated", "connection_lost", "connection_made", "eof_received", "get_buffer")

    def __init__(self, connection: Connection) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(connection, name))
