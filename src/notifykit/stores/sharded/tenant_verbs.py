"""The verbs that name a tenant: each goes to the one shard that the tenant is on."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import StoreUnavailableError
from ...models.circuit import OpenCircuit
from ...models.delivery import Attempt, Collected, Delivery
from ...models.event import StoredEvent
from ...models.inbox import InboxChanges, InboxCounts, InboxFilter, InboxItem, InboxMark, InboxMarks, InboxPage
from ...models.subscription import Match, MatchQuery, TenantConfig
from ...ports import CANCELLED, Appended, ConfigRecord, DeliveryFilter, Dismissal, EventFilter, Move, TokenRequest
from .shard import FRESH

if TYPE_CHECKING:
    from .shard import DatabaseStore, Shard

T = TypeVar("T")
V = TypeVar("V")
R = TypeVar("R", bound=ConfigRecord)
Call = Callable[["DatabaseStore"], Awaitable[T]]


class TenantVerbs:
    """Sends each verb to the shard of its tenant; what is of no tenant is on every shard."""

    @abstractmethod
    async def at(self, tenant: str, call: Call[T], *, writes: bool = False) -> T:
        """Return what a call to the tenant's shard returns.

        Args:
            tenant: Empty for what is on every shard: any of them is read.
            writes: Whether something may be written, which must not be done where the tenant was.

        Raises:
            StoreUnavailableError: The shard does not answer, or the tenant was moved at that moment.
        """

    @abstractmethod
    async def everywhere(self, call: Call[T]) -> list[T]:
        """Return what a call to every shard returns, the first shard's answer first.

        Raises:
            StoreUnavailableError: One of them does not answer.
        """

    @abstractmethod
    async def copy_to_all(self, records: Sequence[ConfigRecord]) -> None:
        """Write records of one kind that are of no tenant to the other shards; later to those that do not answer."""

    @abstractmethod
    async def shard_of(self, tenant: str) -> Shard:
        """Return the shard that a tenant is on at this moment; wait while it is between two.

        Raises:
            StoreUnavailableError: The shard does not answer, or a move does not end.
        """

    async def _by_shard(
        self,
        items: Sequence[V],
        tenant: Callable[[V], str],
        call: Callable[[DatabaseStore, list[V]], Awaitable[T]],
        *,
        writes: bool = True,
    ) -> list[tuple[list[int], T]]:
        """Call each shard once with the items of its tenants; return the places of the items with the answer."""
        homes: dict[str, tuple[Shard, float]] = {}
        for name in {tenant(item) for item in items}:
            shard = await self.shard_of(name)
            homes[name] = shard, shard.read_at
        places: dict[str, list[int]] = {}
        for at, item in enumerate(items):
            places.setdefault(homes[tenant(item)][0].name, []).append(at)

        async def one(its: list[int]) -> tuple[list[int], T]:
            tenants = {tenant(items[at]) for at in its}
            read_at = min(homes[name][1] for name in tenants)
            shard = homes[tenant(items[its[0]])][0]
            answer = await call(await shard.ready(), [items[at] for at in its])
            if writes:
                await self.check(shard, tenants, read_at)
            return its, answer

        return await gathered(map(one, places.values()))

    async def check(self, shard: Shard, tenants: Iterable[str], read_at: float) -> None:
        """Refuse what was written if it took long, and one of the tenants has left the shard meanwhile."""
        if time.monotonic() - read_at > FRESH:
            for tenant in tenants:
                if await self.shard_of(tenant) is not shard:
                    raise StoreUnavailableError(f"{tenant!r} was moved to another shard at this moment; try again")

    # -- records ---------------------------------------------------------------------------------

    async def save(self, record: R) -> R:
        saved = await self.at(record.tenant, lambda store: store.save(record), writes=True)
        if not record.tenant:
            await self.copy_to_all([saved])
        return saved

    async def save_many(self, records: Sequence[R]) -> list[R | None]:
        if not records:
            return []
        tenant = records[0].tenant
        saved = await self.at(tenant, lambda store: store.save_many(records), writes=True)
        if not tenant:
            await self.copy_to_all([record for record in saved if record is not None])
        return saved

    async def get(self, kind: type[R], tenant: str, ids: Collection[str]) -> list[R]:
        return await self.at(tenant, lambda store: store.get(kind, tenant, ids))

    async def page(
        self, kind: type[R], tenant: str, *, limit: int, after: str | None = None, subscriber_id: str | None = None
    ) -> list[R]:
        return await self.at(
            tenant, lambda store: store.page(kind, tenant, limit=limit, after=after, subscriber_id=subscriber_id)
        )

    async def remove(self, kind: type[R], tenant: str, id: str, *, now: datetime) -> bool:
        if not tenant:
            return any(await self.everywhere(lambda store: store.remove(kind, tenant, id, now=now)))
        return await self.at(tenant, lambda store: store.remove(kind, tenant, id, now=now), writes=True)

    async def erase(self, tenant: str, recipient_id: str, *, now: datetime) -> int:
        return await self.at(tenant, lambda store: store.erase(tenant, recipient_id, now=now), writes=True)

    async def tenants(self, *, limit: int, after: str | None = None) -> list[str]:
        answers = await self.everywhere(lambda store: store.tenants(limit=limit, after=after))
        return sorted({name for names in answers for name in names})[:limit]

    async def load_tenants(
        self, tenants: Collection[str], *, most: int | None = None
    ) -> dict[str, TenantConfig | None]:
        found: dict[str, TenantConfig | None] = {}
        for _, its in await self._by_shard(
            list(tenants), lambda tenant: tenant, lambda store, some: store.load_tenants(some, most=most), writes=False
        ):
            found.update(its)
        return found

    async def match(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        return await self.at(tenant, lambda store: store.match(tenant, queries, limit=limit))

    # -- events and deliveries -------------------------------------------------------------------

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        answers: list[Any] = [None] * len(events)
        # Not refused if a tenant has left meanwhile: what is stored where it was is sent on.
        for places, found in await self._by_shard(
            events, lambda event: event.tenant, lambda store, its: store.append(its), writes=False
        ):
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
        return answers

    async def find_deliveries(
        self, tenant: str, wanted: DeliveryFilter, *, limit: int, before: str | None = None
    ) -> list[Delivery]:
        return await self.at(tenant, lambda store: store.find_deliveries(tenant, wanted, limit=limit, before=before))

    async def find_events(
        self, tenant: str, wanted: EventFilter, *, limit: int, before: str | None = None
    ) -> list[StoredEvent]:
        return await self.at(tenant, lambda store: store.find_events(tenant, wanted, limit=limit, before=before))

    async def attempts(self, tenant: str, delivery_id: str) -> list[Attempt]:
        return await self.at(tenant, lambda store: store.attempts(tenant, delivery_id))

    async def move(
        self,
        tenant: str,
        wanted: DeliveryFilter,
        to: Move,
        *,
        now: datetime,
        limit: int | None = None,
        reason: str = CANCELLED,
    ) -> int:
        return await self.at(
            tenant, lambda store: store.move(tenant, wanted, to, now=now, limit=limit, reason=reason), writes=True
        )

    async def collected(self, tenant: str, delivery_id: str) -> Collected | None:
        return await self.at(tenant, lambda store: store.collected(tenant, delivery_id))

    async def dismiss(
        self, tenant: str, delivery_id: str, fence: int, dismissals: Sequence[Dismissal], *, now: datetime
    ) -> bool:
        return await self.at(
            tenant, lambda store: store.dismiss(tenant, delivery_id, fence, dismissals, now=now), writes=True
        )

    # -- limits ----------------------------------------------------------------------------------

    async def save_circuit(
        self, tenant: str, key: str, circuit: OpenCircuit | None, *, now: datetime
    ) -> OpenCircuit | None:
        return await self.at(tenant, lambda store: store.save_circuit(tenant, key, circuit, now=now), writes=True)

    async def acquire(self, requests: Sequence[TokenRequest], *, now: datetime) -> list[int]:
        acquired = [0] * len(requests)
        for places, got in await self._by_shard(
            requests, lambda each: each.tenant, lambda store, its: store.acquire(its, now=now)
        ):
            for place, tokens in zip(places, got, strict=True):
                acquired[place] = tokens
        return acquired

    # -- inboxes ---------------------------------------------------------------------------------

    async def inbox_put(self, items: Sequence[InboxItem]) -> None:
        await self._by_shard(items, lambda item: item.tenant, lambda store, its: store.inbox_put(its))

    async def inbox_page(
        self, tenant: str, recipient: str, wanted: InboxFilter, *, now: datetime, limit: int, after: int | None = None
    ) -> InboxPage:
        return await self.at(
            tenant, lambda store: store.inbox_page(tenant, recipient, wanted, now=now, limit=limit, after=after)
        )

    async def inbox_counts(self, tenant: str, recipient: str, *, now: datetime) -> InboxCounts:
        return await self.at(tenant, lambda store: store.inbox_counts(tenant, recipient, now=now))

    async def inbox_mark(
        self,
        tenant: str,
        recipient: str,
        mark: InboxMark,
        *,
        now: datetime,
        ids: Collection[str] | None = None,
        wanted: InboxFilter | None = None,
        until: datetime | None = None,
        limit: int,
    ) -> list[str]:
        options: dict[str, Any] = {"now": now, "ids": ids, "wanted": wanted, "until": until, "limit": limit}
        return await self.at(tenant, lambda store: store.inbox_mark(tenant, recipient, mark, **options), writes=True)

    async def inbox_changes(self, tenant: str, since: Mapping[str, int], *, limit: int) -> dict[str, InboxChanges]:
        return await self.at(tenant, lambda store: store.inbox_changes(tenant, since, limit=limit))

    async def inbox_marks(self, tenant: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], InboxMarks]:
        return await self.at(tenant, lambda store: store.inbox_marks(tenant, wanted))

    async def inbox_erase(self, tenant: str, recipient: str, *, limit: int) -> int:
        return await self.at(tenant, lambda store: store.inbox_erase(tenant, recipient, limit=limit), writes=True)


async def gathered(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Return the answers of calls that run at once; raise the first error once all of them have ended."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]
