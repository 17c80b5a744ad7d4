"""What the event loop sees of a connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Connection


class WireProtocol(asyncio.BufferedProtocol):
    """Hands the loop a connection's own methods: a compiled class cannot be a protocol of asyncio itself."""

    __slots__ = ("buffer_updated", "connection_lost", "connection_made", "eof_received", "get_buffer")

    def __init__(self, connection: Connection) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(connection, name))
