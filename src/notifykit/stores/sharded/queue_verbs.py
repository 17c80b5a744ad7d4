"""The verbs of the queue: each takes its turn round the shards, and writes to where something came from."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ...errors import ConfigurationError, StoreError, StoreUnavailableError
from ...models.delivery import Claim, Delivery, Lane
from ...models.event import StoredEvent, TakenEvent
from ...ports import Appended, EventFilter, NextDue, Outstanding, Record, Settlement, Ticket
from ..encoding.rows import RANK
from .placing import Placements
from .tenant_verbs import Call, TenantVerbs

if TYPE_CHECKING:
    from .shard import DatabaseStore, Shard

T = TypeVar("T")
V = TypeVar("V")

#: Of so many events it is remembered which shard they came from.
_REMEMBERED: Final = 50_000


class QueueVerbs(TenantVerbs):
    """Takes, claims and hands over what is due on any shard."""

    placements: Placements
    shards: dict[str, Shard]
    _first: Shard

    def __init__(self) -> None:
        self._came_from: OrderedDict[str, str] = OrderedDict()
        self._half_written: set[str] = set()
        self._turn = 0

    @abstractmethod
    def finish_moves(self) -> None:
        """Finish in the background the moves whose mover died while no process could reach the tenant."""

    async def _those_that_answer(
        self, call: Callable[[Shard, DatabaseStore], Awaitable[T]], shards: Sequence[Shard] | None = None
    ) -> list[tuple[Shard, T]]:
        """Return the answers of those shards that answer.

        Raises:
            StoreUnavailableError: None does.
        """
        asked = list(self.shards.values()) if shards is None else list(shards)

        async def one(shard: Shard) -> T:
            return await call(shard, await shard.ready())

        answers = await asyncio.gather(*map(one, asked), return_exceptions=True)
        found: list[tuple[Shard, T]] = []
        failed: StoreUnavailableError | None = None
        for shard, answer in zip(asked, answers, strict=True):
            if isinstance(answer, StoreUnavailableError):
                failed = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found.append((shard, answer))
        if failed is not None and not found:
            raise failed
        return found

    async def _dealt(self, limit: int, ask: Callable[[DatabaseStore, int], Awaitable[list[V]]]) -> list[V]:
        """Ask every shard for its part of ``limit``, and those that had so much for what the others did not have."""
        self._turn += 1
        shards = list(self.shards.values())
        asked = shards[self._turn % len(shards) :] + shards[: self._turn % len(shards)]
        found: list[V] = []
        while asked and (left := limit - len(found)) > 0:
            part, more = divmod(left, len(asked))
            parts = {shard.name: part + (at < more) for at, shard in enumerate(asked)}
            try:
                answers = await self._those_that_answer(
                    lambda shard, store, parts=parts: ask(store, parts[shard.name]),  # type: ignore[misc]
                    [shard for shard in asked if parts[shard.name]],
                )
            except StoreUnavailableError:
                if found:  # it is leased to the caller, who would not hear of it
                    break
                raise
            got = {shard.name: answer for shard, answer in answers}
            for answer in got.values():
                found += answer
            asked = [s for s in asked if not parts[s.name] or len(got.get(s.name, ())) == parts[s.name]]
        return found

    def append_joined(self, connection: Any, events: Sequence[StoredEvent]) -> list[Appended]:
        homes = {self.placements.home(event.tenant).shard for event in events}
        if len(homes) > 1:
            raise ConfigurationError(f"one transaction is on one database, and these tenants are on {sorted(homes)}")
        return self.shards[homes.pop()].store.append_joined(connection, events) if events else []

    async def take(
        self,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        exclude: Collection[str] = (),
        since: datetime | None = None,
    ) -> list[TakenEvent]:
        async def ask(store: DatabaseStore, part: int) -> list[TakenEvent]:
            taken = await store.take(part, now=now, lease=lease, exclude=exclude, since=since)
            return self._remembered(store, await self.without_strays(store, taken, now, lease))

        return sorted(await self._dealt(limit, ask), key=lambda event: RANK[event.priority])

    def _remembered(self, store: DatabaseStore, found: list[V]) -> list[V]:
        name = self._name_of(store)
        for each in found:
            key = each.id if isinstance(each, TakenEvent) else each.delivery_id  # type: ignore[attr-defined]
            self._came_from[_root(key)] = name
        while len(self._came_from) > _REMEMBERED:
            self._came_from.popitem(last=False)
        return found

    def _name_of(self, store: DatabaseStore) -> str:
        return next(name for name, shard in self.shards.items() if shard.store is store)

    async def without_strays(
        self, store: DatabaseStore, taken: list[TakenEvent], now: datetime, lease: timedelta
    ) -> list[TakenEvent]:
        """Return taken events without those of tenants that have left the shard, and send these on.

        A process that had not heard of a move may publish where the tenant was.  The version that came with the
        event says so: it is negative then.  Or where a new tenant would be, had the ring not changed.
        """
        name = self._name_of(store)
        gone = {event.id for event in taken if event.tenant_version < 0}
        strays = [e for e in taken if e.id in gone or self.placements.home(e.tenant).shard != name]
        for event in strays:
            if (await self.shard_of(event.tenant)).store is store:  # it has not left yet
                continue
            gone.add(event.id)
            found = await store.find_events(event.tenant, EventFilter(ids=frozenset([event.id])), limit=1)
            await self.append(found)
            await store.settle([Settlement(event.id, event.fence, ())], now=now, lease=lease, worker="")
        return [event for event in taken if event.id not in gone] if gone else taken

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        return await self.follow(
            settlements,
            lambda settlement: settlement.event_id,
            lambda store, its: store.settle(its, now=now, lease=lease, worker=worker),
        )

    async def record(self, records: Sequence[Record]) -> set[str]:
        return await self.follow(records, lambda record: record.delivery_id, lambda store, its: store.record(its))

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        return await self.follow(
            claims, lambda claim: claim[0], lambda store, its: store.extend(its, until=until), waits=False
        )

    async def follow(
        self,
        items: Sequence[V],
        key: Callable[[V], str],
        write: Callable[[DatabaseStore, list[V]], Awaitable[set[str]]],
        *,
        guess: Shard | None = None,
        waits: bool = True,
    ) -> set[str]:
        """Write what is leased to this process to the shard that it came from; if not there, to those it may be now.

        A fence lets only one of them write it.  If a shard does not answer, what the others have written is
        remembered until the caller tries again.

        Args:
            guess: The shard to begin with; by default the one where each item came from, if that is known.
            waits: Whether to wait for tenants that are between two shards.
        """
        written = {key(item) for item in items if key(item) in self._half_written}
        self._half_written -= written
        left = [item for item in items if key(item) not in written]
        groups: dict[str, list[V]] = {}
        for item in left:
            name = guess.name if guess is not None else self._came_from.get(_root(key(item)), self._first.name)
            groups.setdefault(name, []).append(item)
        failed: StoreError | None = None
        for name, its in groups.items():
            try:
                written |= await write(await self.shards[name].ready(), its)
            except StoreUnavailableError as error:
                failed = error
                left = [item for item in left if item not in its]
                continue
            missing = [item for item in its if key(item) not in written]
            if missing and waits and await self._leaves(name):
                written |= await write(self.shards[name].store, missing)
            for other in self.shards.values():
                missing = [item for item in missing if key(item) not in written]
                if missing and other.name != name:
                    with contextlib.suppress(StoreUnavailableError):
                        written |= await write(await other.ready(), missing)
        if failed is not None:
            self._half_written |= written
            raise failed
        return written

    async def _leaves(self, name: str) -> bool:
        """Return whether any tenant was just now leaving a shard; wait until it has left."""
        await self.shards[name].refresh(0)
        held = self.placements.held_at(name)
        for placement in held:
            with contextlib.suppress(StoreUnavailableError):
                await self.shard_of(placement.tenant)
        return bool(held)

    async def claim(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        worker: str,
        exclude: Collection[str] = (),
        exclude_tenants: Collection[str] = (),
        only: Collection[str] | None = None,
        ids: Collection[str] | None = None,
    ) -> list[Claim]:
        async def ask(store: DatabaseStore, part: int) -> list[Claim]:
            claims = await store.claim(
                lane,
                part,
                now=now,
                lease=lease,
                worker=worker,
                exclude=exclude,
                exclude_tenants=exclude_tenants,
                only=only,
                ids=ids,
            )
            return self._remembered(store, claims)

        return await self._dealt(limit, ask)

    async def hand_off(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        hold: timedelta,
        most: Outstanding,
        exclude: Collection[str] = (),
        exclude_tenants: Collection[str] = (),
    ) -> list[Ticket]:
        names, count = [*self.shards], len(self.shards)

        async def ask(store: DatabaseStore, part: int) -> list[Ticket]:
            # Each shard counts by itself what is handed over, and has its part of what may be.
            at = names.index(self._name_of(store))
            its = most._replace(lane=most.lane * (at + 1) // count - most.lane * at // count)
            return await store.hand_off(
                lane, part, now=now, hold=hold, most=its, exclude=exclude, exclude_tenants=exclude_tenants
            )

        return await self._dealt(limit, ask)

    async def rescue(self, limit: int, *, now: datetime, max_abandoned: int) -> list[Delivery]:
        return await self._dealt(limit, lambda store, part: store.rescue(part, now=now, max_abandoned=max_abandoned))

    async def purge(self, *, before: datetime, keys_before: datetime, limit: int) -> int:
        answers = await self._those_that_answer(
            lambda _, store: store.purge(before=before, keys_before=keys_before, limit=limit)
        )
        return sum(count for _, count in answers)

    async def next_due(self) -> NextDue:
        self.finish_moves()
        found = [due for _, due in await self._those_that_answer(lambda _, store: store.next_due())]
        lanes: dict[Lane, datetime] = {}
        for due in found:
            for lane, at in due.lanes.items():
                lanes[lane] = min(at, lanes.get(lane, at))
        first = min((due.event for due in found if due.event is not None), default=None)
        return NextDue(first, lanes, any(due.is_open for due in found))

    async def wait(self, timeout: timedelta, *, idle_timeout: timedelta | None = None) -> bool:
        return await self._first_notified(lambda store: store.wait(timeout, idle_timeout=idle_timeout), timeout)

    async def inbox_wait(self, timeout: timedelta) -> bool:
        return await self._first_notified(lambda store: store.inbox_wait(timeout), timeout)

    async def _first_notified(self, wait: Call[bool], timeout: timedelta) -> bool:
        """Return once any shard has notified; one that cannot say so is only waited for."""

        async def one(shard: Shard) -> bool:
            try:
                return await wait(await shard.ready())
            except StoreUnavailableError:
                await asyncio.sleep(timeout.total_seconds())
                return False

        waiting = {asyncio.ensure_future(one(shard)) for shard in self.shards.values()}
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if any(task.result() for task in done):
                    return True
            return False
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


def _root(id_: str) -> str:
    """Return what the ids of an event and of its deliveries have in common."""
    return id_[4:30]
