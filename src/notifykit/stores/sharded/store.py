"""One store over several databases: each tenant is on one of them (see ADR 0030)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from ...errors import ConfigurationError, StoreError, StoreUnavailableError
from ...models.circuit import OpenCircuit
from ...models.receipt import ReceiptMatch, ReceiptRecord
from ...ports import ConfigRecord, LaneStats, Rewrapped, StoreStats, Survey
from ..encoding.encryption import Encryption
from ..sql.database_url import backend_of
from ..sql.placements import MOVED, RING, Placement, identity, is_unused
from .growth import Growth, tenants_on
from .mover import Mover, has_died
from .placing import Placements, dealt
from .queue_verbs import QueueVerbs
from .shard import FRESH, DatabaseStore, Shard
from .tenant_verbs import Call, gathered
from .url import shards_of, url_of

if TYPE_CHECKING:
    from .view import ShardView

T = TypeVar("T")
V = TypeVar("V")

#: Seconds that a call waits for a tenant that is between two shards, and between two looks.
_PATIENCE, _LOOK = 30.0, 0.05
#: Seconds between two looks for moves whose mover has died.
_ORPHANS_EVERY = 5.0
_COUNT_CAP = 10_000


class ShardedStore(QueueVerbs):
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

        super().__init__()
        named = dict(shards) if isinstance(shards, Mapping) else {str(at): each for at, each in enumerate(shards)}
        if not named:
            raise ConfigurationError("a sharded store needs at least one database")
        self.placements = Placements()
        self.shards: dict[str, Shard] = {}
        encryption: Encryption | None = None
        for name, given in named.items():
            store: Any = store_from_url(given, **options) if isinstance(given, str) else given
            if not hasattr(store, "transaction") or backend_of(store.url) == "mysql":
                raise ConfigurationError(f"shard {name!r} is on no database that can be one: use SQLite or PostgreSQL")
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
        self._behind: dict[tuple[str, type, str], ConfigRecord] = {}
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

    async def missing(self) -> list[str]:
        """Return the names of the shards that do not answer: :meth:`stats` counts what is on the others."""
        found = await self._those_that_answer(lambda _, store: store.transaction(identity, write=False))
        return [name for name in self.shards if name not in {shard.name for shard, _ in found}]

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
