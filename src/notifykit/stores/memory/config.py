"""The memory store's endpoints and subscriptions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from copy import deepcopy
from datetime import datetime
from typing import TypeVar

from ...models.endpoint import Endpoint, EndpointState
from ...models.subscription import Match, MatchQuery, Subscription, TenantConfig
from ...policies.match_keys import keys_for
from .deliveries import MemoryDeliveries
from .tables import Tables, newer

T = TypeVar("T")


class MemoryConfig(MemoryDeliveries):
    """The verbs of :class:`notifykit.ports.Endpoints` and :class:`notifykit.ports.Subscriptions`."""

    _tables: Tables

    async def save_endpoint(self, endpoint: Endpoint) -> Endpoint:
        key = endpoint.tenant, endpoint.id
        saved = newer(endpoint, self._tables.endpoints.get(key), "endpoint", endpoint.id)
        # A copy, because the caller may go on to change the mappings inside.
        self._tables.endpoints[key] = deepcopy(saved)
        self._tables.versions[endpoint.tenant] += 1
        return saved

    async def get_endpoint(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        return self._tables.endpoints.get((tenant, endpoint_id))

    async def find_endpoints(self, tenant: str, *, limit: int, after: str | None = None) -> list[Endpoint]:
        return [e for e in _of_tenant(self._tables.endpoints, tenant) if after is None or e.id > after][:limit]

    async def pick_endpoints(self, tenant: str, endpoint_ids: Collection[str]) -> list[Endpoint]:
        keys = ((tenant, id_) for id_ in {*endpoint_ids})
        return [self._tables.endpoints[key] for key in keys if key in self._tables.endpoints]

    async def remove_endpoint(self, tenant: str, endpoint_id: str, *, now: datetime) -> bool:
        tables = self._tables
        if tables.endpoints.pop((tenant, endpoint_id), None) is None:
            return False
        for subscription in _of_tenant(tables.subscriptions, tenant):
            if subscription.subscriber_id == endpoint_id:
                tables.drop(tenant, subscription.id)
        tables.circuits.pop((tenant, endpoint_id), None)
        tables.buckets.pop((tenant, endpoint_id), None)
        self._cancel(tables.rows_of(tenant, endpoint_id), "endpoint_deleted", now)
        tables.versions[tenant] += 1
        return True

    async def save_subscription(self, subscription: Subscription) -> Subscription:
        tenant, id_ = subscription.tenant, subscription.id
        saved = newer(subscription, self._tables.subscriptions.get((tenant, id_)), "subscription", id_)
        self._tables.keep(deepcopy(saved))
        self._tables.versions[tenant] += 1
        return saved

    async def get_subscription(self, tenant: str, subscription_id: str) -> Subscription | None:
        return self._tables.subscriptions.get((tenant, subscription_id))

    async def find_subscriptions(
        self, tenant: str, *, subscriber_id: str | None = None, limit: int, after: str | None = None
    ) -> list[Subscription]:
        found = [
            subscription
            for subscription in _of_tenant(self._tables.subscriptions, tenant)
            if (after is None or subscription.id > after)
            and (subscriber_id is None or subscription.subscriber_id == subscriber_id)
        ]
        return found[:limit]

    async def remove_subscription(self, tenant: str, subscription_id: str) -> bool:
        if not self._tables.drop(tenant, subscription_id):
            return False
        self._tables.versions[tenant] += 1
        return True

    async def load_tenant(self, tenant: str) -> TenantConfig:
        return TenantConfig(
            tenant=tenant,
            version=self._tables.versions[tenant],
            endpoints=tuple(_of_tenant(self._tables.endpoints, tenant)),
            subscriptions=tuple(_of_tenant(self._tables.subscriptions, tenant)),
        )

    async def load_small_tenant(self, tenant: str, most: int) -> TenantConfig | None:
        config = await self.load_tenant(tenant)
        return None if max(len(config.endpoints), len(config.subscriptions)) > most else config

    async def find_matches(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        return [self._matches(tenant, query, limit) for query in queries]

    def _matches(self, tenant: str, query: MatchQuery, limit: int) -> list[Match]:
        found: set[str] = set()
        for place in keys_for(query):
            ids = self._tables.places.get((tenant, place), [])
            first = bisect_right(ids, query.after)
            found.update(ids[first : first + limit])
        subscriptions = (self._tables.subscriptions[tenant, id_] for id_ in sorted(found)[:limit])
        return [Match(each, self._state(tenant, each.subscriber_id)) for each in subscriptions]

    def _state(self, tenant: str, endpoint_id: str) -> EndpointState | None:
        endpoint = self._tables.endpoints.get((tenant, endpoint_id))
        return None if endpoint is None else endpoint.state

    async def tenants(self) -> list[str]:
        return sorted({tenant for tenant, _ in (*self._tables.endpoints, *self._tables.subscriptions)})


def _of_tenant(table: dict[tuple[str, str], T], tenant: str) -> list[T]:
    """Return a tenant's values in the order of their ids."""
    return [value for key, value in sorted(table.items(), key=lambda item: item[0]) if key[0] == tenant]
