"""One shard as its dispatcher sees it: its queue alone, and the tenants wherever they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ...models.circuit import OpenCircuit
from ...models.delivery import Claim, Delivery, Lane
from ...models.event import TakenEvent
from ...models.receipt import ReceiptMatch, ReceiptRecord
from ...ports import ConfigRecord, NextDue, Outstanding, Record, Settlement, StoreStats, Ticket
from .tenant_verbs import Call, T, TenantVerbs

if TYPE_CHECKING:
    from .shard import Shard
    from .store import ShardedStore


class ShardView(TenantVerbs):
    """A store that takes, claims and rescues on one shard.

    So the loops of one shard's dispatcher never wait for another shard.  A tenant that was moved while its deliveries
    were being sent is followed: their results are written where it is now.
    """

    def __init__(self, sharded: ShardedStore, shard: Shard) -> None:
        self._sharded, self._shard = sharded, shard

    async def open(self) -> None:
        """Do nothing: the sharded store is opened as a whole."""

    async def aclose(self) -> None:
        """Do nothing: the sharded store is closed as a whole."""

    async def at(self, tenant: str, call: Call[T], *, writes: bool = False) -> T:
        if not tenant:  # such as the circuit of a provider's account: each dispatcher has its own
            return await call(await self._shard.ready())
        return await self._sharded.at(tenant, call, writes=writes)

    async def shard_of(self, tenant: str) -> Shard:
        return await self._sharded.shard_of(tenant) if tenant else self._shard

    async def everywhere(self, call: Call[T]) -> list[T]:
        return await self._sharded.everywhere(call)

    async def copy_to_all(self, records: Sequence[ConfigRecord]) -> None:
        await self._sharded.copy_to_all(records)

    async def take(self, limit: int, *, now: datetime, lease: timedelta, **options: Any) -> list[TakenEvent]:
        store = await self._shard.ready()
        taken = await store.take(limit, now=now, lease=lease, **options)
        return await self._sharded.without_strays(store, taken, now, lease)

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        return await self._sharded.follow(
            settlements,
            lambda settlement: settlement.event_id,
            lambda store, its: store.settle(its, now=now, lease=lease, worker=worker),
            guess=self._shard,
        )

    async def record(self, records: Sequence[Record]) -> set[str]:
        return await self._sharded.follow(
            records, lambda record: record.delivery_id, lambda store, its: store.record(its), guess=self._shard
        )

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        return await self._sharded.follow(
            claims,
            lambda claim: claim[0],
            lambda store, its: store.extend(its, until=until),
            guess=self._shard,
            waits=False,
        )

    async def claim(self, lane: Lane, limit: int, **options: Any) -> list[Claim]:
        return await (await self._shard.ready()).claim(lane, limit, **options)

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
        return await (await self._shard.ready()).hand_off(
            lane, limit, now=now, hold=hold, most=most, exclude=exclude, exclude_tenants=exclude_tenants
        )

    async def rescue(self, limit: int, *, now: datetime, max_abandoned: int) -> list[Delivery]:
        return await (await self._shard.ready()).rescue(limit, now=now, max_abandoned=max_abandoned)

    async def purge(self, *, before: datetime, keys_before: datetime, limit: int) -> int:
        return await (await self._shard.ready()).purge(before=before, keys_before=keys_before, limit=limit)

    async def next_due(self) -> NextDue:
        self._sharded.finish_moves()
        return await (await self._shard.ready()).next_due()

    async def wait(self, timeout: timedelta, *, idle_timeout: timedelta | None = None) -> bool:
        return await (await self._shard.ready()).wait(timeout, idle_timeout=idle_timeout)

    async def inbox_wait(self, timeout: timedelta) -> bool:
        return await (await self._shard.ready()).inbox_wait(timeout)

    async def record_receipts(self, records: Sequence[ReceiptRecord], *, now: datetime) -> list[ReceiptMatch]:
        return await (await self._shard.ready()).record_receipts(records, now=now)

    async def stats(self, *, now: datetime) -> StoreStats:
        return await (await self._shard.ready()).stats(now=now)

    async def circuits(self) -> list[OpenCircuit]:
        return await (await self._shard.ready()).circuits()


if TYPE_CHECKING:
    from ...ports import Digests, Inbox, Store

    _conforms: type[Store] = ShardView
    _keeps_inboxes: type[Inbox] = ShardView
    _collects: type[Digests] = ShardView
