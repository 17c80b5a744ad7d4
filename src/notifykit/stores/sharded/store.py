"""One store over several databases: each tenant is on one of them (see ADR 0030)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from ...errors import ConfigurationError, StoreError, StoreUnavailableError
from ...models.circuit import OpenCircuit
from ...models.delivery import Claim, Delivery, Lane
from ...models.event import StoredEvent, TakenEvent
from ...models.receipt import ReceiptMatch, ReceiptRecord
from ...ports import (
    Appended,
    ConfigRecord,
    EventFilter,
    LaneStats,
    NextDue,
    Outstanding,
    Record,
    Rewrapped,
    Settlement,
    StoreStats,
    Survey,
    Ticket,
)
from ..encoding.encryption import Encryption
from ..encoding.rows import RANK
from ..sql.placements import MOVED, RING, Placement, is_unused
from .growth import Growth, tenants_on
from .mover import Mover, has_died
from .placing import Placements, dealt
from .shard import FRESH, DatabaseStore, Shard
from .tenant_verbs import Call, TenantVerbs, gathered
from .url import shards_of, url_of

if TYPE_CHECKING:
    from .view import ShardView

T = TypeVar("T")
V = TypeVar("V")

#: Seconds that a call waits for a tenant that is between two shards, and between two looks.
_PATIENCE, _LOOK = 30.0, 0.05
#: Seconds between two looks for moves whose mover has died.
_ORPHANS_EVERY = 5.0
#: Of so many events it is remembered which shard they came from.
_REMEMBERED = 50_000
_COUNT_CAP = 10_000


class ShardedStore(TenantVerbs):
    """Spreads tenants over several SQL databases, which know nothing of each other.

    A shard that does not answer delays only its own tenants.  A kit runs a dispatcher for each shard (see
    :meth:`views`).

    Args:
        shards: The stores, or their URLs, by their names; or without names: then they are called ``0``, ``1`` …
        options: What the stores that are given as URLs take beside them.

    Raises:
        ConfigurationError: There is none, or one is not in a SQL database.
    """

    def __init__(self, shards: Mapping[str, Any] | Sequence[Any], **options: Any) -> None:
        from .. import store_from_url

        named = dict(shards) if isinstance(shards, Mapping) else {str(at): each for at, each in enumerate(shards)}
        if not named:
            raise ConfigurationError("a sharded store needs at least one database")
        self.placements = Placements()
        self.shards: dict[str, Shard] = {}
        encryption: Encryption | None = None
        for name, given in named.items():
            store: Any = store_from_url(given, **options) if isinstance(given, str) else given
            if not hasattr(store, "transaction"):
                raise ConfigurationError(f"shard {name!r} is not in a SQL database: use SQLite or PostgreSQL")
            if isinstance(given, str):  # in development every file has a key of its own, but tenants move
                encryption = encryption or store.encryption
                store.encryption = encryption
            self.shards[name] = Shard(name, store, self.placements)
        self._first = next(iter(self.shards.values()))
        self.encryption = self._first.store.encryption
        self.url = url_of({name: shard.store.url for name, shard in self.shards.items()})
        self.private = any(getattr(shard.store, "private", False) for shard in self.shards.values())
        self.mover = Mover(self.shards, self.placements)
        self.growth = Growth(self.shards, self.placements)
        self._came_from: OrderedDict[str, str] = OrderedDict()
        self._half_written: set[str] = set()
        self._behind: dict[tuple[str, type, str], ConfigRecord] = {}
        self._turn = 0
        self._looked = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Return the store behind ``sharded://?a=sqlite:///a.db&b=sqlite:///b.db``."""
        return cls(shards_of(url), **options)

    @property
    def urls(self) -> list[str]:
        """The URLs of the databases."""
        return [shard.store.url for shard in self.shards.values()]

    # -- life ------------------------------------------------------------------------------------

    async def open(self) -> None:
        opened = await asyncio.gather(*(shard.open() for shard in self.shards.values()), return_exceptions=True)
        try:
            for found in opened:
                if isinstance(found, BaseException) and not isinstance(found, StoreUnavailableError):
                    raise found
            rings = [found[1] for found in opened if found is not None and not isinstance(found, BaseException)]
            unavailable = [found for found in opened if isinstance(found, StoreUnavailableError)]
            if unavailable and not rings:  # none has said yet which shards there are, or none answers
                raise unavailable[0]
            ring = rings[0] if rings else await self._first_ring()
            if any(each != ring for each in rings) or not {*ring} <= {*self.shards}:
                raise ConfigurationError(
                    f"the databases say that tenants are dealt to the shards {', '.join(ring)}, and the configuration "
                    f"names {', '.join(self.shards)}: name every one of them, as they were named before"
                )
            self.placements.first = tuple(ring)
            for shard, found in zip(self.shards.values(), opened, strict=True):
                if found is None:
                    await shard.join(ring)
            await asyncio.gather(*(shard.refresh(0) for shard in self.shards.values()), return_exceptions=True)
            if missing := {*self.placements.ring} - {*self.shards}:
                raise ConfigurationError(f"tenants are dealt to {', '.join(sorted(missing))} as well: name every shard")
        except BaseException:
            await self.aclose()
            raise

    async def _first_ring(self) -> list[str]:
        """Return the shards that tenants are dealt to from now on: all, or the only one that has tenants already."""
        unused = await self.everywhere(lambda store: store.transaction(is_unused, write=False))
        used = [name for name, is_empty in zip(self.shards, unused, strict=True) if not is_empty]
        if len(used) > 1:
            raise ConfigurationError(
                f"the databases {', '.join(used)} have tenants already, and say nothing of being shards: begin with "
                "one of them and databases that are empty"
            )
        return used or sorted(self.shards)

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(shard.aclose() for shard in self.shards.values()), return_exceptions=True)

    def views(self) -> list[ShardView]:
        """Return a store for the dispatcher of each shard, which works on that shard alone."""
        from .view import ShardView

        return [ShardView(self, shard) for shard in self.shards.values()]

    def partition(self, tenant: str) -> str:
        """Return which shard a tenant is on, as far as is known: publishes to different ones share no transaction."""
        return self.placements.home(tenant).shard

    # -- routing ---------------------------------------------------------------------------------

    async def shard_of(self, tenant: str) -> Shard:
        """Return the shard that a tenant is on at this moment; wait while it is between two.

        Raises:
            StoreUnavailableError: The shard does not answer, or a move does not end.
        """
        if not tenant:
            return self._first
        end = time.monotonic() + _PATIENCE
        while True:
            home = self.placements.home(tenant)
            shard = self.shards.get(home.shard)
            if shard is None:
                raise StoreUnavailableError(f"{tenant!r} is on shard {home.shard!r}, which is not configured here")
            await shard.refresh(FRESH if home.held is None else 0)
            now = self.placements.home(tenant)
            if now.held is None:
                if now.shard == home.shard:
                    return shard
                continue
            if time.monotonic() > end:
                raise StoreUnavailableError(f"{tenant!r} is being moved to shard {now.held.shard!r}; try again")
            if has_died(now.held):
                await (self.growth.finish() if now.held.tenant == RING else self.mover.finish(now.held))
            else:
                await asyncio.sleep(_LOOK)

    async def at(self, tenant: str, call: Call[T], *, writes: bool = False) -> T:
        if not tenant:
            return await self._anywhere(call, writes=writes)
        shard = await self.shard_of(tenant)
        read_at = shard.read_at
        answer = await call(await shard.ready())
        if writes:
            await self.check(shard, [tenant], read_at)
        return answer

    async def _anywhere(self, call: Call[T], *, writes: bool) -> T:
        """Return the answer of the first shard; to read, of the first one that answers."""
        for shard in list(self.shards.values())[:-1]:
            try:
                return await call(await shard.ready())
            except StoreUnavailableError:
                if writes:
                    raise
        return await call(await [*self.shards.values()][-1].ready())

    async def everywhere(self, call: Call[T]) -> list[T]:
        async def one(shard: Shard) -> T:
            return await call(await shard.ready())

        return await gathered(map(one, self.shards.values()))

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

    # -- queue -----------------------------------------------------------------------------------

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

    # -- operations ------------------------------------------------------------------------------

    async def record_receipts(self, records: Sequence[ReceiptRecord], *, now: datetime) -> list[ReceiptMatch]:
        """Store receipts on every shard: only the one with the delivery knows whose they are.

        Raises:
            StoreUnavailableError: A shard does not answer, and a receipt may be about a delivery there.
        """
        failed: list[StoreUnavailableError] = []

        async def one(_: Shard, store: DatabaseStore) -> list[ReceiptMatch]:
            return await store.record_receipts(records, now=now)

        async def noted(shard: Shard) -> list[ReceiptMatch]:
            try:
                return await one(shard, await shard.ready())
            except StoreUnavailableError as error:
                failed.append(error)
                return []

        matches = [match for found in await gathered(map(noted, self.shards.values())) for match in found]
        if failed and (len(failed) == len(self.shards) or len(matches) < len(records)):
            raise failed[0]
        return matches

    async def stats(self, *, now: datetime) -> StoreStats:
        found = [stats for _, stats in await self._those_that_answer(lambda _, store: store.stats(now=now))]
        return StoreStats(
            unplanned=min(sum(stats.unplanned for stats in found), _COUNT_CAP),
            waiting=min(sum(stats.waiting for stats in found), _COUNT_CAP),
            sending=min(sum(stats.sending for stats in found), _COUNT_CAP),
            dead=min(sum(stats.dead for stats in found), _COUNT_CAP),
            oldest_due=min((stats.oldest_due for stats in found if stats.oldest_due is not None), default=None),
            lanes={
                lane: _together([stats.lanes[lane] for stats in found if lane in stats.lanes])
                for lane in {lane for stats in found for lane in stats.lanes}
            },
        )

    async def circuits(self) -> list[OpenCircuit]:
        answers = await self._those_that_answer(lambda _, store: store.circuits())
        return [circuit for _, found in answers for circuit in found]

    # -- keys ------------------------------------------------------------------------------------

    async def rewrap(
        self, *, dry_run: bool = False, progress: Callable[[Rewrapped], None] = lambda _: None
    ) -> Rewrapped:
        total: Rewrapped | None = None
        for shard in self.shards.values():
            done = await (await shard.ready()).rewrap(dry_run=dry_run, progress=progress)
            if total is None:
                total = done
                continue
            total.rows, total.endpoints = total.rows + done.rows, total.endpoints + done.endpoints
            total.missed += done.missed
            total.unreadable += done.unreadable
        assert total is not None, "there is a shard"
        return total

    async def survey(self) -> Survey:
        total = Survey()
        for found in await self.everywhere(lambda store: store.survey()):
            total.endpoints, total.sampled = total.endpoints + found.endpoints, total.sampled + found.sampled
            total.encrypted += found.encrypted
            total.unreadable += found.unreadable
        return total

    # -- what is of no tenant ----------------------------------------------------------------------

    async def copy_to_all(self, records: Sequence[ConfigRecord]) -> None:
        for name, shard in self.shards.items():
            if shard is self._first:
                continue
            try:
                await _copy(await shard.ready(), records)
            except StoreUnavailableError:
                self._behind.update({(name, type(record), record.id): record for record in records})

    async def _catch_up(self) -> None:
        """Write what a shard has missed while it did not answer."""
        for key, record in list(self._behind.items()):
            with contextlib.suppress(StoreError):
                await _copy(await self.shards[key[0]].ready(), [record])
                if self._behind.get(key) is record:
                    del self._behind[key]

    # -- moves -----------------------------------------------------------------------------------

    async def move_tenant(self, tenant: str, shard: str) -> Placement:
        """Move a tenant to a shard, beside running traffic; return where it is then.

        A move that was cut off goes on where it stopped: call it again, with the same shard.  Meanwhile whoever
        needs the tenant finishes it.

        Raises:
            ConfigurationError: There is no such shard, or the tenant is being moved to another one.
            StoreUnavailableError: One of the two shards does not answer.
        """
        for each in self.shards.values():
            with contextlib.suppress(StoreUnavailableError):
                await each.refresh(0)
        return await self.mover.move(tenant, shard)

    async def rebalance(self, *, moved: bool = False) -> AsyncIterator[tuple[Placement, int]]:
        """Deal new tenants to every shard, and move those that would be on another shard by that, one after the other.

        Yields each tenant once it is there, and how many are left.  What was cut off goes on where it stopped: call it
        again.  Every process must know every shard before.

        Args:
            moved: Whether to move tenants as well that were moved before, such as by :meth:`move_tenant`.

        Raises:
            StoreUnavailableError: A shard does not answer.
        """
        await self._refresh_all()
        await self.growth.change(sorted(self.shards))
        await self._refresh_all()
        wanted: list[tuple[str, str]] = []
        for each in self.placements.known.values():
            place = dealt(each.tenant, self.placements.ring)
            if each.state != MOVED:
                wanted.append((each.tenant, each.shard))
            elif each.shard != place and (moved or each.source == each.shard):
                wanted.append((each.tenant, place))
        for done, (tenant, shard) in enumerate(sorted(wanted), 1):
            yield await self.mover.move(tenant, shard), len(wanted) - done
        for name, source in self.shards.items():  # of moves that were cut off at their very end
            async for tenants in tenants_on(source):
                left = [self.placements.known[each] for each in tenants if each in self.placements.known]
                for placement in left:
                    if placement.source == name != placement.shard and placement.state == MOVED:
                        await self.mover.finish(placement)

    async def _refresh_all(self) -> None:
        await asyncio.gather(*(shard.refresh(0) for shard in self.shards.values()))

    def finish_moves(self) -> None:
        """Finish in the background the moves whose mover died while no process could reach the tenant."""
        if time.monotonic() - self._looked < _ORPHANS_EVERY:
            return
        self._looked = time.monotonic()
        task = asyncio.create_task(self._finish_moves(), name="notifykit-moves")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish_moves(self) -> None:
        await self._catch_up()
        for shard in self.shards.values():
            with contextlib.suppress(StoreError):
                await shard.refresh(_ORPHANS_EVERY / 2)
        for placement in list(self.placements.unfinished.values()):
            if has_died(placement):
                with contextlib.suppress(StoreError):
                    await self.mover.finish(placement)


async def _copy(store: DatabaseStore, records: Sequence[Any]) -> None:
    """Write records of one kind that are of no tenant, whatever the shard has."""
    ids = [each.id for each in records]
    known = {each.id: each for each in await store.get(type(records[0]), "", ids)}
    versions = {id_: known[id_].version if id_ in known else 0 for id_ in ids}
    given = [attrs.evolve(each, version=versions[each.id]) for each in records]
    await store.save_many([each for each in given if known.get(each.id) != each])


def _root(id_: str) -> str:
    """Return what the ids of an event and of its deliveries have in common."""
    return id_[4:30]


def _together(lanes: Sequence[LaneStats]) -> LaneStats:
    """Return what waits in a lane of all shards."""
    oldest = min((lane.oldest_due for lane in lanes if lane.oldest_due is not None), default=None)
    return LaneStats(min(sum(lane.waiting for lane in lanes), _COUNT_CAP), oldest)


if TYPE_CHECKING:
    from ...ports import Digests, Inbox, JoinsTransactions, ListsTenants, Rekeys, Store

    _conforms: type[Store] = ShardedStore
    _keeps_inboxes: type[Inbox] = ShardedStore
    _collects: type[Digests] = ShardedStore
    _joins: type[JoinsTransactions] = ShardedStore
    _rekeys: type[Rekeys] = ShardedStore
    _lists: type[ListsTenants] = ShardedStore
