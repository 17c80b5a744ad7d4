"""Moves a tenant from one shard to another beside running traffic (see ADR 0030).

Each step can be repeated, and two movers that do the same do no harm: every transaction first checks, under a lock,
that the move is still at this step.  So a move that was cut off anywhere is finished by doing it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from sqlalchemy import Connection

from ...errors import ConfigurationError, StoreError, StoreUnavailableError
from ...failpoints import failpoint
from ..sql import placements
from ..sql.placements import ARRIVING, COPYING, HELD, MOVED, Placement
from . import copying, parking
from .placing import Placements
from .shard import Shard

T = TypeVar("T")

#: Seconds that pass between the announcement that a tenant is held and the first step that relies on it: longer than
#: any process relies on what it has read (see ``shard.FRESH``).
GRACE = 1.0
#: Seconds after which a mover that has not been heard of has died, and between two signs of life.
_LEASE, _SIGN_EVERY = 10.0, 2.0
#: Seconds until a mover looks again how far another one is.
_AGAIN = 0.2


def has_died(placement: Placement) -> bool:
    """Return whether nothing was heard for a while of the process that moves a tenant."""
    return (placement.lease_until or 0) < time.time_ns() // 1000


class _OvertakenError(Exception):
    """Another process has done this step, or a later one."""


class Mover:
    """Moves tenants between shards."""

    def __init__(self, shards: Mapping[str, Shard], known: Placements) -> None:
        self._shards, self._known = shards, known
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def move(self, tenant: str, to: str) -> Placement:
        """Move a tenant to the shard ``to``; see :meth:`.store.ShardedStore.move_tenant`."""
        if to not in self._shards:
            raise ConfigurationError(f"there is no shard {to!r}; there are {', '.join(self._shards)}")
        known = self._known.known.get(tenant)
        if known is not None and known.state != MOVED:
            if known.shard != to:
                raise ConfigurationError(f"{tenant!r} is being moved to {known.shard!r}: first do that again")
            await self.finish(known)
        home = self._known.home(tenant).shard
        generation = 0 if known is None else known.generation
        if home == to:
            if known is not None:
                await self.finish(known)  # it may have been cut off while the source was cleared
            return known or Placement(tenant, to, to, generation, MOVED)
        begun = Placement(tenant, to, home, generation + 1, COPYING, lease())
        await self._check_keys(begun)
        await self._announce(begun)
        await self.finish(begun)
        return self._known.known[tenant]

    async def finish(self, placement: Placement) -> None:
        """Bring a move to its end, wherever it stands; calls for the same tenant in this process do it together."""
        if placement.source == placement.shard:  # pinned: it was not moved, and nothing of it is to be cleared
            return
        task = self._under_way.get(placement.tenant)
        if task is None:
            task = asyncio.create_task(self._finish(placement), name="notifykit-move")
            self._under_way[placement.tenant] = task
            task.add_done_callback(lambda _: self._under_way.pop(placement.tenant, None))
        await asyncio.shield(task)

    async def _finish(self, placement: Placement) -> None:
        step = _Move(self._shards[placement.source], self._shards[placement.shard], placement)
        while not await step.run():
            await asyncio.sleep(_AGAIN)
        moved = placement._replace(state=MOVED, lease_until=None)
        self._known.note([moved], moved.source)
        # The other shards hear of it as well, so that the tenant is found while its former shard is down.
        for shard in self._shards.values():
            with suppress(StoreError):
                await (await shard.ready()).transaction(lambda c: placements.put(c, moved), write=True)

    async def _check_keys(self, placement: Placement) -> None:
        source, target = (self._shards[name].store.encryption for name in (placement.source, placement.shard))
        if source is not target and source.vault.ring.current != target.vault.ring.current:
            raise ConfigurationError("the two databases have different keys: give every shard the same NOTIFYKIT_KEYS")

    async def _announce(self, begun: Placement) -> None:
        source = await self._shards[begun.source].ready()

        def announce(connection: Connection) -> bool:
            found = placements.find(connection, begun.tenant)
            if found is not None and found.generation >= begun.generation:
                return False
            placements.put(connection, begun)
            return True

        if not await source.transaction(announce, write=True):
            raise StoreUnavailableError(f"another process moves {begun.tenant!r} at this moment")
        self._known.note([begun], begun.source)


class _Move:
    """One move, of which the source's row says how far it is."""

    def __init__(self, source: Shard, target: Shard, placement: Placement) -> None:
        self._source, self._target = source, target
        self._begun = placement
        self._signed = float("-inf")

    async def run(self) -> bool:
        """Do what is left of the move; return whether it is at its end."""
        try:
            await self._run()
        except _OvertakenError:
            return await self._state() is None
        return True

    async def _run(self) -> None:
        arriving = self._begun._replace(state=ARRIVING)
        await self._target.ready()
        await self._source.ready()
        state = await self._state()
        if state in (COPYING, HELD):
            await self._on_target(lambda c: placements.put(c, arriving), guarded=False)
        if state == COPYING:
            await self._copy()
            failpoint("shard.copied")
            await self._put(HELD, after=COPYING)
            state = HELD
        if state == HELD:
            failpoint("shard.held")
            await asyncio.sleep(GRACE)
            await self._park()
            failpoint("shard.parked")
            if not await self._is_activated():
                await self._copy()
                await self._activate()
            failpoint("shard.activated")
            await self._put(MOVED, after=HELD)
        failpoint("shard.moved")
        await self._clear()

    # -- steps -----------------------------------------------------------------------------------

    async def _copy(self) -> None:
        """Make the target have what the source has of the tenant, page by page, apart from open work."""
        for table in copying.TABLES:
            after: copying.Key | None = None
            while True:
                page = await self._source.store.transaction(
                    lambda c, table=table, after=after: copying.read(c, table, self._begun.tenant, after),  # type: ignore[misc]
                    write=False,
                )
                await self._on_target(lambda c, page=page: copying.merge(c, page))  # type: ignore[misc]
                await self._give_sign()
                after = page.upto
                if after is None:
                    break

    async def _park(self) -> None:
        """Take open work out of the source's queue, the newest first: the head of a FIFO group stays to the last."""
        while await self._on_source(lambda c: parking.park(c, self._begun.tenant), HELD):
            await self._give_sign()

    async def _activate(self) -> None:
        """Put the work into the target's queue; in the same transaction the tenant is there."""
        rows = await self._source.store.transaction(lambda c: parking.parked(c, self._begun.tenant), write=False)
        moved = self._begun._replace(state=MOVED, lease_until=None)

        def activate(connection: Connection) -> None:
            parking.unpark(connection, self._begun.tenant, rows)
            placements.put(connection, moved)

        await self._on_target(activate)

    async def _clear(self) -> None:
        """Delete what the source has left of the tenant."""
        while await self._on_source(lambda c: copying.clear(c, self._begun.tenant), MOVED):
            failpoint("shard.clearing")

    # -- guarded transactions --------------------------------------------------------------------

    async def _state(self) -> str | None:
        """Return how far the move is; ``None`` if it has ended, and a later one has begun."""
        found = await self._source.store.transaction(lambda c: placements.find(c, self._begun.tenant), write=False)
        return found.state if found is not None and found.generation == self._begun.generation else None

    async def _is_activated(self) -> bool:
        found = await self._target.store.transaction(lambda c: placements.find(c, self._begun.tenant), write=False)
        return found is not None and found.rank >= (self._begun.generation, placements.STATES.index(MOVED))

    async def _put(self, state: str, *, after: str) -> None:
        changed = self._begun._replace(state=state, lease_until=None if state == MOVED else lease())
        await self._on_source(lambda c: placements.put(c, changed), after)

    async def _on_source(self, work: Callable[[Connection], T], state: str) -> T:
        return await _guarded(self._source, self._begun, state, work)

    async def _on_target(self, work: Callable[[Connection], T], *, guarded: bool = True) -> T:
        return await _guarded(self._target, self._begun, ARRIVING if guarded else None, work)

    async def _give_sign(self) -> None:
        if time.monotonic() - self._signed >= _SIGN_EVERY:
            self._signed = time.monotonic()
            tenant, until = self._begun.tenant, lease()
            await self._source.store.transaction(lambda c: placements.prolong(c, tenant, until), write=True)


async def _guarded(shard: Shard, begun: Placement, state: str | None, work: Callable[[Connection], T]) -> T:
    def guarded(connection: Connection) -> T:
        found = placements.find(connection, begun.tenant, lock=True)
        is_same = found is not None and (found.generation, found.state) == (begun.generation, state)
        if state is not None and not is_same:
            raise _OvertakenError
        return work(connection)

    return await (await shard.ready()).transaction(guarded, write=True)


def lease() -> int:
    """Return until when what a process has just begun is known to be alive, in microseconds."""
    return time.time_ns() // 1000 + int(_LEASE * 1e6)
