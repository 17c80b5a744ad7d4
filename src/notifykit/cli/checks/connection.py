"""What ``notifykit check`` says of the way to a PostgreSQL server: a pooler, and whether hints arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from .finding import Finding, Opened

if TYPE_CHECKING:
    from ...stores.sql.postgres.store import PostgresStore

#: How long a hint may take.
_PATIENCE = 5
_LOOK = timedelta(milliseconds=20)


async def connection(opened: Opened) -> AsyncIterator[Finding]:
    """Look at the connections of a store on PostgreSQL."""
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
                "pools sessions: each process needs a server connection for each of pool_size (10), and one to listen",
                "is its pool large enough for all processes?",
            )
        case Pooling.TRANSACTION:
            yield Finding(
                "pooler",
                "note",
                "pools transactions: statements are planned each time and take four round trips instead of one",
                "give workers the address of the server itself; if it pools sessions: ?pooler=session",
            )
            yield Finding("hints", "note", "not heard through this pooler: work is found by polling, once a second")
            return
    yield await _hints(store)


async def _hints(store: PostgresStore) -> Finding:
    """Send a hint, and say whether it arrives."""
    from ...errors import StoreError

    try:
        async with asyncio.timeout(_PATIENCE):
            while not store.hears_notifications and store.listen_error is None:
                await store.wait(_LOOK)
    except (TimeoutError, StoreError):
        pass
    if store.hears_notifications:
        return Finding("hints", "ok", "heard")
    return Finding(
        "hints",
        "bad",
        f"not heard, work is found by polling: {store.listen_error or 'NOTIFY does not arrive'}",
        "can this host open one more connection, and is it to the server itself?",
    )
