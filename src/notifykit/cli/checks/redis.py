"""Checks of a Redis server: what a power cut can take, and what happens when its memory is full."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, cast

from .finding import Finding, Level, Opened

if TYPE_CHECKING:
    from ...stores.redis.store import RedisStore

#: By ``appendfsync``: how bad it is, what it means, and what to do.
_LOGGED: Mapping[str | None, tuple[Level, str, str]] = {
    "always": ("ok", "every event is on the disk before publish returns (appendfsync always)", ""),
    "everysec": (
        "note",
        "a power cut, not a killed server, takes what was acknowledged in the last two seconds (appendfsync everysec)",
        "if that is too much: appendfsync always",
    ),
    "no": (
        "warn",
        "a power cut takes what the system has not written yet, up to half a minute (appendfsync no)",
        "set appendfsync to everysec or always",
    ),
}


async def durability(opened: Opened) -> AsyncIterator[Finding]:
    """Report what a Redis server can lose."""
    from ...stores.sql.database_url import backend_of

    if backend_of(opened.kit.url) not in ("redis", "rediss"):
        return
    found = await cast("RedisStore", opened.kit.store).durability()
    if not found.is_logged:
        yield Finding(
            "durability",
            "warn",
            "a restart of the server takes what came after its last snapshot (appendonly no)",
            "set appendonly to yes",
        )
    elif found.fsync in _LOGGED:
        level, what, remedy = _LOGGED[found.fsync]
        yield Finding("durability", level, what, remedy)
    else:
        yield Finding(
            "durability",
            "note",
            "the append-only file is on; the server does not say how often it reaches the disk",
            "ask who runs the server for appendfsync: with everysec a power cut takes up to two seconds",
        )
    yield Finding("memory", "ok", f"nothing of the store is evicted (maxmemory-policy {found.policy})")
