"""Look at events, and learn why somebody did or did not get one."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..errors import NotFoundError
from ..models.delivery import Delivery
from ..models.event import StoredEvent, TakenEvent
from ..models.subscription import Subscription
from ..policies.plan import SubscriptionIndex, explain
from ..ports import DeliveryFilter, Store


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

    async def get(self, event_id: str, *, tenant: str) -> StoredEvent:
        """Return an event.

        Raises:
            NotFoundError: The tenant has no such event.
        """
        event = await self._store.get_event(tenant, event_id)
        if event is None:
            raise NotFoundError("event", event_id)
        return event

    async def list(
        self, *, tenant: str, type: str | None = None, limit: int = 50, before: str | None = None
    ) -> Sequence[StoredEvent]:
        """Return a page of events, newest first, from before the id ``before``."""
        return await self._store.find_events(tenant, type=type, limit=limit, before=before)

    async def explain(self, event_id: str, *, tenant: str) -> Explanation:
        """Return who got the event, who did not, and why.

        Raises:
            NotFoundError: The tenant has no such event.
        """
        event = await self.get(event_id, tenant=tenant)
        found = await self._store.find_deliveries(tenant, DeliveryFilter(event_id=event_id), limit=1000)
        config = await self._store.load_tenant(tenant)
        taken = TakenEvent(
            event.id,
            0,
            event.tenant,
            event.type,
            event.topic,
            event.priority,
            event.ordering_key,
            event.published_at,
            event.expires_at,
            event.body,
            None,
            config.version,
        )
        verdicts = tuple(explain(taken, SubscriptionIndex(config)))
        planned = await self._store.is_planned(tenant, event_id)
        return Explanation(event=event, planned=planned, deliveries=tuple(found), verdicts=verdicts)
