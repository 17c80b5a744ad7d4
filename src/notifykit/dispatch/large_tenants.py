"""Tenants with very many endpoints and subscriptions, of which little is held at a time.

The store finds the subscriptions that may match an event, page by page.  Kept are the answers for types of
which few subscriptions came, and the endpoints that were used last: what a worker holds
is bounded by the work it does, not by what its tenants have (see ADR 0016).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

import attrs

from ..models.delivery import WEBHOOK, DeliveryState, NewDelivery
from ..models.destination import Destination
from ..models.endpoint import Endpoint
from ..models.event import TakenEvent
from ..models.subscription import Match, MatchQuery
from ..policies.plan import SubscriptionIndex, addressed_to, plan_page, query_for
from ..ports import Store

#: Deliveries of one event that are planned before other events are: an urgent one waits for no more.
_PAGE = 250
#: Matches that are read at a time if filters refuse so many that a page is not full, how often that is done
#: for a page, and of how many at the most the answer is kept.
_AT_A_TIME, _LOOKS, _MOST = 1000, 3, 1000
#: A batch of events asks for so many kinds at a time; the answer is of use if it has so few matches.
_KINDS, _FEW = 128, 32
#: Endpoints of an event that are read along with those of the other events of a batch.
_ALONG = 4
#: Answers with their matches, and destinations, that are kept of all large tenants together: some 50 MB at the most.
_KEPT_MATCHES, _KEPT_DESTINATIONS = 24_000, 12_000

T = TypeVar("T")
#: Returns the destination that an endpoint yields.
ToDestination = Callable[[Endpoint], Destination]


class _Entry(NamedTuple):
    version: int
    value: Any
    weight: int


class _Kept(Generic[T]):
    """What was read last, each with the tenant's version that it is not older than."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._entries: OrderedDict[tuple[str, Any], _Entry] = OrderedDict()
        self._weight = 0

    def get(self, key: tuple[str, Any], version: int = 0) -> T | None:
        """Return what is kept, if it is at least as new as ``version``."""
        entry = self._entries.get(key)
        if entry is None or entry.version < version:
            return None
        self._entries.move_to_end(key)
        value: T = entry.value
        return value

    def peek(self, key: tuple[str, Any]) -> T | None:
        """Return what is kept, whatever its version, without a sign that it was asked for."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value: T = entry.value
        return value

    def put(self, key: tuple[str, Any], version: int, value: T, weight: int = 1) -> None:
        """Keep a value instead of an older one; what was not asked for the longest makes room."""
        if self.get(key, version + 1) is not None:
            return
        self.drop(key, version)
        self._entries[key] = _Entry(version, value, weight)
        self._weight += weight
        while self._weight > self._room:
            self._weight -= self._entries.popitem(last=False)[1].weight

    def drop(self, key: tuple[str, Any], version: int) -> None:
        """Forget what is not newer than ``version``."""
        entry = self._entries.get(key)
        if entry is not None and entry.version <= version:
            del self._entries[key]
            self._weight -= entry.weight


class _Answer(NamedTuple):
    """The subscriptions that may match events of a kind; ``None`` if they are too many to be kept."""

    matches: SubscriptionIndex | None


class LargeTenants:
    """What is held of all large tenants.

    Attributes:
        is_known: Whether any tenant was found to be large.
    """

    def __init__(self, store: Store, to_destination: ToDestination) -> None:
        self.store = store
        self.to_destination = to_destination
        self.answers: _Kept[_Answer] = _Kept(_KEPT_MATCHES)
        self.destinations: _Kept[Destination] = _Kept(_KEPT_DESTINATIONS)
        self.is_known = False

    async def view(self, tenant: str, version: int, operational: Collection[str]) -> LargeTenant:
        """Return a view of a large tenant, with those of the ``operational`` types that a subscription may name."""
        self.is_known = True
        types = sorted(operational)
        found = await self.store.match(tenant, [MatchQuery(type_, named=True) for type_ in types], limit=1)
        return LargeTenant(
            tenant, version, frozenset(type_ for type_, some in zip(types, found, strict=True) if some), self
        )


@attrs.frozen(eq=False)
class LargeTenant:
    """One large tenant: what is not held is asked for.

    Attributes:
        wanted: Types of operational events that a subscription may name.
    """

    tenant: str
    version: int
    wanted: frozenset[str]
    _large: LargeTenants

    def wants(self, type_: str) -> bool:
        """Tell whether a subscription may name a type of operational events."""
        return type_ in self.wanted

    def endpoint(self, endpoint_id: str) -> Destination | None:
        """Return the destination of an endpoint that was read, if it is still held."""
        return self._large.destinations.peek((self.tenant, endpoint_id))

    async def load(self, endpoint_ids: Iterable[str]) -> dict[str, Destination]:
        """Return the destinations of those endpoints that exist, as new as this view, and hold them for a while."""
        kept, version = self._large.destinations, self.version
        loaded: dict[str, Destination] = {}
        missing = set()
        for id_ in endpoint_ids:
            if (destination := kept.get((self.tenant, id_), version)) is None:
                missing.add(id_)
            else:
                loaded[id_] = destination
        if missing:
            for found in await self._large.store.get(Endpoint, self.tenant, missing):
                loaded[found.id] = destination = self._large.to_destination(found)
                kept.put((self.tenant, found.id), version, destination)
            for id_ in missing - loaded.keys():
                kept.drop((self.tenant, id_), version)
        return loaded

    async def prepare(self, events: Sequence[TakenEvent]) -> None:
        """Read at one go what these events need: a statement for each would cost more than all else."""
        addressed: set[str] = set()
        kinds: dict[MatchQuery, TakenEvent] = {}
        for event in events:
            if (endpoint_id := addressed_to(event)) is not None:
                addressed.add(endpoint_id)
            elif event.cursor is None:
                kinds[query_for(event)] = event
        answers = {query: self._answer(query) for query in kinds}
        unknown = [query for query, answer in answers.items() if answer is None]
        if len(unknown) > 1:
            for at in range(0, len(unknown), _KINDS):
                await self._ask(unknown[at : at + _KINDS])
            answers.update((query, self._answer(query)) for query in unknown)
        for query, answer in answers.items():
            if answer is not None and answer.matches is not None:
                event = kinds[query]
                for match in islice(answer.matches.matching(event.type, event.topic), _ALONG):
                    if match.subscription.address is None:
                        addressed.add(match.subscription.subscriber_id)
        await self.load(addressed)

    async def _ask(self, queries: Sequence[MatchQuery]) -> None:
        answers = await self._large.store.match(self.tenant, queries, limit=_FEW + 1)
        for query, found in zip(queries, answers, strict=True):
            if len(found) <= _FEW:
                self._keep(query, found)

    async def plan(self, event: TakenEvent, *, now: datetime, most: int) -> tuple[list[NewDelivery], str | None]:
        """Return a page of deliveries, and the cursor of the next (see :func:`plan_page`).

        The endpoints of the first page are read, so that it can be sent from this process.
        """
        if (endpoint_id := addressed_to(event)) is not None:
            states = {id_: endpoint.state for id_, endpoint in (await self.load({endpoint_id})).items()}
            return plan_page(event, SubscriptionIndex((), states), now=now, most=most)
        query = query_for(event)
        answer = self._answer(query)
        if answer is None or answer.matches is None:
            page = await self._page(event, query, now, most)
        else:
            page = plan_page(event, answer.matches, now=now, most=most)
        if event.cursor is None:
            first = [new for new in page[0] if new.state is DeliveryState.PENDING and new.channel == WEBHOOK]
            await self.load(new.subscriber_id for new in first)
        return page

    async def _page(
        self, event: TakenEvent, query: MatchQuery, now: datetime, most: int
    ) -> tuple[list[NewDelivery], str | None]:
        """Plan from matches that are read for it; a page may be short, or empty, and not the last one."""
        planned: dict[str, NewDelivery] = {}
        seen: list[Match] = []
        most = min(most, _PAGE)
        cursor: str | None = event.cursor or ""
        for look in range(_LOOKS):
            limit = _AT_A_TIME if look else most
            asked = query._replace(after=cursor or "")
            (found,) = await self._large.store.match(self.tenant, [asked], limit=limit)
            seen += found
            more, cursor = plan_page(event._replace(cursor=None), _index_of(found), now=now, most=most - len(planned))
            for new in more:  # subscriptions to one address may be apart; the one with the smallest id counts
                planned.setdefault(new.id, new)
            if cursor is None and len(found) == limit:
                cursor = found[-1].subscription.id
            if cursor is None or len(planned) >= most:
                break
        if event.cursor is None:
            self._keep(query, seen if cursor is None and len(seen) <= _MOST else None)
        return list(planned.values()), cursor

    def _answer(self, query: MatchQuery) -> _Answer | None:
        return self._large.answers.get((self.tenant, query), self.version)

    def _keep(self, query: MatchQuery, found: Sequence[Match] | None) -> None:
        answer = _Answer(None if found is None else _index_of(found))
        weight = 1 if found is None else 1 + len(found)
        self._large.answers.put((self.tenant, query), self.version, answer, weight)


def _index_of(found: Sequence[Match]) -> SubscriptionIndex:
    states = {each.subscription.subscriber_id: each.state for each in found if each.state is not None}
    return SubscriptionIndex((each.subscription for each in found), states)
