"""The verbs of a store that name a tenant, as one call for each thing that they can be given an id of.

A call's name begins with the verb's: ``get_of_endpoint`` is ``get``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from notifykit import DeliveryFilter, RateLimit
from notifykit.models.circuit import OpenCircuit
from notifykit.models.delivery import Attempt, Delivery
from notifykit.models.endpoint import Endpoint
from notifykit.models.event import StoredEvent
from notifykit.models.recipient import Recipient
from notifykit.models.subscription import Match, MatchQuery, Subscription, TenantConfig
from notifykit.ports import EventFilter, Move, Store, TokenRequest


class CallsById:
    """Calls of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get_of_endpoint(self, tenant: str, endpoint_id: str) -> list[Endpoint]:
        return await self._store.get(Endpoint, tenant, [endpoint_id])

    async def get_of_subscription(self, tenant: str, subscription_id: str) -> list[Subscription]:
        return await self._store.get(Subscription, tenant, [subscription_id])

    async def get_of_recipient(self, tenant: str, recipient_id: str) -> list[Recipient]:
        return await self._store.get(Recipient, tenant, [recipient_id])

    async def page_of_recipients(self, tenant: str, *, limit: int, after: str | None = None) -> list[Recipient]:
        return await self._store.page(Recipient, tenant, limit=limit, after=after)

    async def remove_of_recipient(self, tenant: str, recipient_id: str, *, now: datetime) -> bool:
        return await self._store.remove(Recipient, tenant, recipient_id, now=now)

    async def page_of_endpoints(self, tenant: str, *, limit: int, after: str | None = None) -> list[Endpoint]:
        return await self._store.page(Endpoint, tenant, limit=limit, after=after)

    async def page_of_subscriptions(self, tenant: str, *, limit: int, after: str | None = None) -> list[Subscription]:
        return await self._store.page(Subscription, tenant, limit=limit, after=after)

    async def page_of_subscriber(self, tenant: str, subscriber_id: str, *, limit: int) -> list[Subscription]:
        return await self._store.page(Subscription, tenant, subscriber_id=subscriber_id, limit=limit)

    async def remove_of_endpoint(self, tenant: str, endpoint_id: str, *, now: datetime) -> bool:
        return await self._store.remove(Endpoint, tenant, endpoint_id, now=now)

    async def remove_of_subscription(self, tenant: str, subscription_id: str, *, now: datetime) -> bool:
        return await self._store.remove(Subscription, tenant, subscription_id, now=now)

    async def erase(self, tenant: str, recipient_id: str, *, now: datetime) -> int:
        return await self._store.erase(tenant, recipient_id, now=now)

    async def load_tenants_of_tenant(self, tenant: str, *, most: int) -> TenantConfig | None:
        return (await self._store.load_tenants([tenant], most=most))[tenant]

    async def match(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        return await self._store.match(tenant, queries, limit=limit)

    async def find_deliveries(self, tenant: str, *, limit: int, before: str | None = None) -> list[Delivery]:
        return await self._store.find_deliveries(tenant, DeliveryFilter(), limit=limit, before=before)

    async def find_deliveries_of_id(self, tenant: str, delivery_id: str) -> list[Delivery]:
        return await self._store.find_deliveries(tenant, DeliveryFilter(ids=delivery_id), limit=9)

    async def find_deliveries_of_event(self, tenant: str, event_id: str) -> list[Delivery]:
        return await self._store.find_deliveries(tenant, DeliveryFilter(event_id=event_id), limit=9)

    async def find_deliveries_of_subscriber(self, tenant: str, subscriber_id: str) -> list[Delivery]:
        return await self._store.find_deliveries(tenant, DeliveryFilter(subscriber_id=subscriber_id), limit=9)

    async def find_events(self, tenant: str, *, limit: int, before: str | None = None) -> list[StoredEvent]:
        return await self._store.find_events(tenant, EventFilter(), limit=limit, before=before)

    async def find_events_of_id(self, tenant: str, event_id: str) -> list[StoredEvent]:
        return await self._store.find_events(tenant, EventFilter(ids=event_id), limit=9)

    async def find_events_of_plan(self, tenant: str, event_id: str) -> list[StoredEvent]:
        return await self._store.find_events(tenant, EventFilter(ids=event_id, planned=True), limit=9)

    async def attempts(self, tenant: str, delivery_id: str) -> list[Attempt]:
        return await self._store.attempts(tenant, delivery_id)

    async def move_of_cancel(self, tenant: str, delivery_id: str, *, now: datetime) -> int:
        return await self._store.move(tenant, DeliveryFilter(ids=delivery_id), Move.CANCEL, now=now)

    async def move_of_redrive(self, tenant: str, delivery_id: str, *, now: datetime) -> int:
        return await self._store.move(tenant, DeliveryFilter(ids=delivery_id), Move.REDRIVE, now=now)

    async def move_of_event(self, tenant: str, event_id: str, *, now: datetime) -> int:
        return await self._store.move(tenant, DeliveryFilter(event_id=event_id), Move.REDRIVE, now=now)

    async def move_of_subscriber(self, tenant: str, subscriber_id: str, *, now: datetime) -> int:
        return await self._store.move(tenant, DeliveryFilter(subscriber_id=subscriber_id), Move.WAKE, now=now)

    async def save_circuit_of_none(self, tenant: str, endpoint_id: str, *, now: datetime) -> OpenCircuit | None:
        return await self._store.save_circuit(tenant, endpoint_id, None, now=now)

    async def acquire_of_bucket(self, tenant: str, endpoint_id: str, *, now: datetime) -> list[int]:
        limit = RateLimit(per_second=1, burst=50)
        return await self._store.acquire([TokenRequest(tenant, endpoint_id, 50, limit)], now=now)


def verb_of(call: str) -> str:
    """Return the verb of a call."""
    return call.partition("_of_")[0]


def call_of(store: Store, name: str) -> Any:
    """Return a call of a store."""
    return getattr(CallsById(store), name)
