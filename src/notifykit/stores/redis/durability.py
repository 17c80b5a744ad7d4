"""What the server's settings say of durability."""

from __future__ import annotations

import contextlib

import attrs

from ...errors import StoreError
from .connections import Connections


@attrs.frozen(kw_only=True)
class Durability:
    """How the server keeps what it has acknowledged.

    Attributes:
        is_logged: Whether every write goes to the append-only file.
        fsync: When that file reaches the disk: ``always``, ``everysec`` or ``no``; ``None`` if the server does not say.
        policy: What happens when the memory is full.
    """

    is_logged: bool
    fsync: str | None
    policy: str


async def durability(connections: Connections) -> Durability:
    """Read the server's settings, as far as it tells them."""
    info = await connections.info()
    fsync = None
    with contextlib.suppress(StoreError):  # CONFIG is forbidden on many servers that are rented
        fsync = (await connections.settings("appendfsync")).get("appendfsync")
    return Durability(
        is_logged=bool(int(info.get("aof_enabled", 0))),
        fsync=fsync,
        policy=str(info.get("maxmemory_policy", "unknown")),
    )
