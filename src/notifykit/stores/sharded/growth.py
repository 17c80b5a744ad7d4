"""Deals new tenants to more shards, and says which of the others should move (see ADR 0030).

The ring is changed in three steps.  Tenants that are there already, and whose hash the new ring puts elsewhere, are
pinned: a placement says that they are where they are.  Then the change is announced as held, as a move is, and
tenants that are not known yet wait if the two rings differ about them.  Once no process relies on the old ring, those
that have come meanwhile are pinned, and the new ring holds.

Each step can be repeated: a change that was cut off is finished by whoever needs such a tenant.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence

from sqlalchemy import Connection, Table, select

from ...errors import ConfigurationError
from ...failpoints import failpoint
from ..sql import placements
from ..sql.placements import HELD, MOVED, RING, Placement
from . import copying
from .mover import GRACE, lease
from .placing import Placements, dealt
from .shard import Shard

#: A tenant with anything has a row in one of these, whose keys begin with the tenant.
_TABLES = tuple(table for table in copying.TABLES if next(iter(table.primary_key)).name == "tenant")


class Growth:
    """Changes the ring of a sharded store."""

    def __init__(self, shards: Mapping[str, Shard], known: Placements) -> None:
        self._shards, self._known = shards, known
        self._lock = asyncio.Lock()

    async def change(self, ring: Sequence[str]) -> None:
        """Deal new tenants to ``ring`` from now on."""
        if not {*self._known.ring} <= {*ring}:
            raise ConfigurationError("a shard cannot leave the ring: move its tenants, and go on naming it")
        if self._known.change is not None and self._known.change.state == HELD:
            await self.finish()
        if {*ring} == {*self._known.ring}:
            return
        for shard in self._shards.values():
            await shard.ready()
        generation = 1 if self._known.change is None else self._known.change.generation + 1
        change = Placement(RING, json.dumps([*ring]), json.dumps([*self._known.ring]), generation, HELD)
        await self._pin(change)
        failpoint("ring.pinned")
        await self._announce(change)
        await self.finish()

    async def finish(self) -> None:
        """Bring a change that is announced to its end."""
        async with self._lock:
            change = self._known.change
            if change is None or change.state != HELD:
                return
            await self._announce(change)
            failpoint("ring.held")
            await asyncio.sleep(GRACE)
            await self._pin(change)
            await asyncio.sleep(GRACE)  # until every process that hears of the new ring has heard of these as well
            await self._put(change._replace(state=MOVED, lease_until=None))

    async def _announce(self, change: Placement) -> None:
        await self._put(change._replace(lease_until=lease()))

    async def _put(self, change: Placement) -> None:
        for shard in self._shards.values():
            store = await shard.ready()
            await store.transaction(lambda c: placements.put(c, change), write=True)
        self._known.note([change], "")

    async def _pin(self, change: Placement) -> None:
        """Write of tenants that are where the old ring puts them, and the new one would not, that they stay there."""
        before, after = tuple(json.loads(change.source)), tuple(json.loads(change.shard))
        for name, shard in self._shards.items():
            async for tenants in tenants_on(shard):
                pins = [
                    Placement(tenant, name, name, 0, MOVED)
                    for tenant in tenants
                    if tenant not in self._known.known and dealt(tenant, before) == name != dealt(tenant, after)
                ]
                if pins:
                    for each in (shard, *(other for other in self._shards.values() if other is not shard)):
                        store = await each.ready()
                        await store.transaction(lambda c, pins=pins: placements.pin(c, pins), write=True)  # type: ignore[misc]
                    self._known.note(pins, name)


async def tenants_on(shard: Shard) -> AsyncIterator[list[str]]:
    """Yield the tenants that have anything on a shard, in pages; some more than once."""
    store = await shard.ready()
    for table in _TABLES:
        after = ""
        while page := await store.transaction(lambda c, t=table, after=after: _tenants(c, t, after), write=False):  # type: ignore[misc]
            yield page
            after = page[-1]


def _tenants(connection: Connection, table: Table, after: str) -> list[str]:
    """Return the next tenants of a table, each found by the index: a large table is not read."""
    found: list[str] = []
    of = table.c.tenant
    while len(found) < copying.PAGE:
        tenant = connection.scalar(select(of).where(of > after).order_by(of).limit(1))
        if tenant is None:
            break
        found.append(after := tenant)
    return found
