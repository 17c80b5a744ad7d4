"""Read events, and learn why an endpoint did or did not get one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import attrs

from ..errors import NotFoundError
from ..models.delivery import Delivery
from ..models.event import StoredEvent
from ..models.subscription import Subscription
from ..policies.arguments import checked
from ..policies.plan import SubscriptionIndex, Verdict, explain
from ..ports import DeliveryFilter, Store

#: Subscriptions that are read at a time.
_PAGE = 1000


@attrs.frozen(kw_only=True)
class Explanation:
    """Why an event went where it went.

    Attributes:
        deliveries: What planning made of the event.
        verdicts: Each subscription of the tenant as it is *now*, with the code of what decides:
            ``matched``, ``type_mismatch``, ``topic_mismatch``, ``filter_mismatch``,
            ``subscription_disabled``, ``endpoint_disabled`` …
        planned: Whether the event has been planned yet.
    """

    event: StoredEvent
    planned: bool
    deliveries: tuple[Delivery, ...]
    verdicts: tuple[tuple[Subscription, str], ...]


class Events:
    """A tenant's published events."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @checked()
    async def get(self, event_id: str, *, tenant: str) -> StoredEvent:
        """Return an event.

        Raises:
            NotFoundError: The tenant has no such event.
        """
        event = await self._store.get_event(tenant, event_id)
        if event is None:
            raise NotFoundError("event", event_id)
        return event

    @checked()
    async def list(
        self, *, tenant: str, type: str | None = None, limit: int = 50, before: str | None = None
    ) -> Sequence[StoredEvent]:
        """Return a page of events, newest first, from before the id ``before``."""
        return await self._store.find_events(tenant, type=type, limit=limit, before=before)

    @checked()
    async def explain(self, event_id: str, *, tenant: str, subscriber_id: str | None = None) -> Explanation:
        """Return which endpoints got the event, which did not, and why.

        Args:
            subscriber_id: Only what concerns this endpoint (``end_…``): the way to ask in a tenant with very
                many subscriptions, all of which are returned otherwise.

        Raises:
            NotFoundError: The tenant has no such event.
        """
        event = await self.get(event_id, tenant=tenant)
        wanted = DeliveryFilter(event_id=event_id, subscriber_id=subscriber_id)
        found = await self._store.find_deliveries(tenant, wanted, limit=1000)
        verdicts = [verdict async for verdict in self._verdicts(event, subscriber_id)]
        planned = await self._store.is_planned(tenant, event_id)
        return Explanation(event=event, planned=planned, deliveries=tuple(found), verdicts=tuple(verdicts))

    async def _verdicts(
        self, event: StoredEvent, subscriber_id: str | None
    ) -> AsyncIterator[tuple[Subscription, Verdict]]:
        """Yield what the tenant's subscriptions say, page by page: there may be very many."""
        tenant, after = event.tenant, None
        told: set[tuple[str, str]] = set()
        while True:
            page = await self._store.find_subscriptions(tenant, subscriber_id=subscriber_id, limit=_PAGE, after=after)
            endpoints = await self._store.pick_endpoints(tenant, {wish.subscriber_id for wish in page})
            states = {endpoint.id: endpoint.state for endpoint in endpoints}
            for verdict in explain(event, SubscriptionIndex(page, states), told=told):
                yield verdict
            if len(page) < _PAGE:
                return
            after = page[-1].id
