"""Checks of a MySQL or MariaDB server: what a power cut can take."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from .finding import Finding, Opened

if TYPE_CHECKING:
    from ...stores.sql.mysql.store import MysqlStore


async def server(opened: Opened) -> AsyncIterator[Finding]:
    """Report which server it is, and whether a commit of it reaches the disk."""
    from ...stores.sql.database_url import backend_of

    if backend_of(opened.kit.url) != "mysql":
        return
    found = await cast("MysqlStore", opened.kit.store).server()
    yield Finding("server", "ok", found.version)
    if found.flushes_each_commit:
        yield Finding("durability", "ok", "every event is on the disk before publish returns")
    else:
        yield Finding(
            "durability",
            "warn",
            "a power cut, not a killed server, takes what was committed in the last second",
            "set innodb_flush_log_at_trx_commit to 1",
        )
