"""Checks of the connection to a PostgreSQL server: a pooler, and whether notifications arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from .finding import Finding, Opened

if TYPE_CHECKING:
    from ...stores.sql.postgres.store import PostgresStore

#: Seconds within which a notification must arrive.
_PATIENCE = 5
_LOOK = timedelta(milliseconds=20)


async def connection(opened: Opened) -> AsyncIterator[Finding]:
    """Check the connections of a store on PostgreSQL."""
    from ...stores.sql.database_url import backend_of
    from ...stores.sql.postgres.url import Pooling

    if backend_of(opened.kit.url) != "postgresql":
        return
    store = cast("PostgresStore", opened.kit.store)
    match store.connector.pooling:
        case Pooling.NONE:
            yield Finding("pooler", "ok", "none")
        case Pooling.SESSION:
            yield Finding(
                "pooler",
                "note",
                "session pooling: each process needs pool_size (10) server connections, and one that listens",
                "check that its pool is large enough for all processes",
            )
        case Pooling.TRANSACTION:
            yield Finding(
                "pooler",
                "note",
                "transaction pooling: statements are planned each time and take four round trips instead of one",
                "connect workers directly to the server; if the pooler uses session pooling: ?pooler=session",
            )
            yield Finding(
                "notifications", "note", "do not pass this pooler: dispatchers find work by polling, once a second"
            )
            return
    yield await _notifications(store)


async def _notifications(store: PostgresStore) -> Finding:
    """Send a notification, and report whether it arrives."""
    from ...errors import StoreError

    try:
        async with asyncio.timeout(_PATIENCE):
            while not store.hears_notifications and store.listen_error is None:
                await store.wait(_LOOK)
    except (TimeoutError, StoreError):
        pass
    if store.hears_notifications:
        return Finding("notifications", "ok", "arrive")
    return Finding(
        "notifications",
        "bad",
        f"do not arrive, dispatchers find work by polling: {store.listen_error or 'no NOTIFY was received'}",
        "check that this host can open one more connection, directly to the server",
    )
