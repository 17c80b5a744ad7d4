"""Which connections a pool still hands out: none that is closed, and none made before a failover was noticed.

The server, or a firewall, ends connections that wait in the pool; the driver knows of it without
asking.  After a failover a connection may live on and lead to the old primary, which is read-only
now, while a new connection would reach the new one.  In both cases nothing was sent yet, so
the pool can replace it.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, event, exc
from sqlalchemy.ext.asyncio import AsyncEngine

from ....errors import StoreUnavailableError
from ..faults import READ_ONLY

#: Where a connection's entry in the pool has the time when it was first handed out.
_BORN = "notifykit_born"
#: Whether this is no primary.
IS_READ_ONLY = "SELECT current_setting('transaction_read_only') = 'on'"


def refuse_read_only(connection: Connection) -> None:
    """Raise :class:`StoreUnavailableError` if nothing can be written through this connection."""
    if connection.exec_driver_sql(IS_READ_ONLY).scalar():
        raise StoreUnavailableError(READ_ONLY)


class Checkout:
    """Checks each connection as it is taken out of a pool, at the cost of a few microseconds."""

    def __init__(self) -> None:
        self._oldest = float("-inf")

    def watch(self, engine: AsyncEngine) -> None:
        """Begin to check."""
        if not event.contains(engine.sync_engine, "checkout", self._look):
            event.listen(engine.sync_engine, "checkout", self._look)

    def unwatch(self, engine: AsyncEngine) -> None:
        """Stop looking: the engine may be the host's own."""
        if event.contains(engine.sync_engine, "checkout", self._look):
            event.remove(engine.sync_engine, "checkout", self._look)

    def replace_all(self) -> None:
        """Hand out no connection any more that was made before now."""
        self._oldest = time.monotonic()

    def _look(self, adapted: Any, entry: Any, _: Any) -> None:
        born = entry.info.setdefault(_BORN, time.monotonic())
        if born < self._oldest or adapted.driver_connection.is_closed():
            raise exc.DisconnectionError  # the pool connects again
