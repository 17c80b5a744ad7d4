"""What this process knows of each tenant's configuration: fresh by version, bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import attrs

from ..errors import StoreUnavailableError
from ..models.delivery import Claim, NewDelivery
from ..models.endpoint import Endpoint
from ..models.event import TakenEvent
from ..models.subscription import TenantConfig
from ..policies.plan import OPERATIONAL_TYPES, SubscriptionIndex, plan_page
from ..ports import Store
from .large_tenants import LargeTenant, LargeTenants

T = TypeVar("T")

#: Tenants whose configuration is kept at the same time.
CAPACITY = 4096
#: A tenant with more endpoints or subscriptions than this is large: no process holds its whole
#: configuration; the store finds what an event needs of it.
LARGE = 2000


@attrs.frozen
class TenantView:
    """One tenant's configuration, compiled."""

    version: int
    index: SubscriptionIndex
    endpoints: dict[str, Endpoint]

    def plan(self, event: TakenEvent, *, now: datetime, most: int) -> tuple[list[NewDelivery], str | None]:
        """Return a page of deliveries, and the cursor of the next (see :func:`plan_page`)."""
        return plan_page(event, self.index, now=now, most=most)

    def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint of the tenant."""
        return self.endpoints.get(endpoint_id)

    def wants(self, type_: str) -> bool:
        """Tell whether a subscription names a type of operational events."""
        return bool(self.index.named(type_))


class Directory:
    """What planning and sending need to know, by tenant.

    Every take and claim carries the tenant's version from the same statement, so
    what is planned or sent is never older than what was committed before it.

    Args:
        max_timeout: Endpoints with a longer deadline are shown with this one.
    """

    def __init__(self, store: Store, max_timeout: timedelta) -> None:
        self._store = store
        self._max_timeout = max_timeout
        self._views: OrderedDict[str, TenantView | LargeTenant] = OrderedDict()
        self._large = LargeTenants(store, self._clamp)

    def known(self, tenant: str, version: int) -> TenantView | LargeTenant | None:
        """Return the view if it is at least as new as ``version``."""
        view = self._views.get(tenant)
        return view if view is not None and view.version >= version else None

    async def view(self, tenant: str, version: int) -> TenantView | LargeTenant:
        """Return the tenant's view, asking the store if it is older than ``version``."""
        view = self.known(tenant, version)
        if view is None:
            view = self._views[tenant] = await self._read(tenant, version)
        self._views.move_to_end(tenant)
        while len(self._views) > CAPACITY:
            self._views.popitem(last=False)
        return view

    async def _read(self, tenant: str, version: int) -> TenantView | LargeTenant:
        config = await self._store.load_small_tenant(tenant, LARGE)
        if config is None:
            return await self._large.view(tenant, version, OPERATIONAL_TYPES)
        return self._compiled(config)

    def _compiled(self, config: TenantConfig) -> TenantView:
        endpoints = {endpoint.id: self._clamp(endpoint) for endpoint in config.endpoints}
        return TenantView(config.version, SubscriptionIndex.of(config), endpoints)

    def _clamp(self, endpoint: Endpoint) -> Endpoint:
        if endpoint.timeout <= self._max_timeout:
            return endpoint
        return attrs.evolve(endpoint, timeout=self._max_timeout)

    async def prepare(self, taken: Sequence[TakenEvent]) -> None:
        """Find at one go what a batch of events needs of large tenants."""
        if not self._large.is_known:
            return
        batches: dict[str, list[TakenEvent]] = {}
        for event in taken:
            batches.setdefault(event.tenant, []).append(event)
        for tenant, events in batches.items():
            try:
                view = await self.view(tenant, max(event.tenant_version for event in events))
                if isinstance(view, LargeTenant):
                    await view.prepare(events)
            except StoreUnavailableError:
                raise
            except Exception:  # noqa: S112 - this tenant's events say so one by one; the others' are prepared
                continue

    async def endpoints_of(self, claims: Sequence[Claim]) -> list[Endpoint | Exception | None]:
        """Return the endpoint of each claim, as new as the claim.

        ``None`` stands where there is none any more, and an exception where the tenant cannot be read.
        """
        views: dict[str, TenantView | LargeTenant | Exception] = {}
        wanted: dict[LargeTenant, set[str]] = {}
        for claim in claims:
            if isinstance(views.get(claim.tenant), Exception):
                continue
            view = views[claim.tenant] = await self._tried(self.view(claim.tenant, claim.version))
            if isinstance(view, LargeTenant):
                wanted.setdefault(view, set()).add(claim.subscriber_id)
        met = {view.tenant: await self._tried(view.load(endpoint_ids)) for view, endpoint_ids in wanted.items()}
        found: list[Endpoint | Exception | None] = []
        for claim in claims:
            of = met.get(claim.tenant, views[claim.tenant])
            if isinstance(of, Exception):
                found.append(of)
            elif isinstance(of, dict):
                found.append(of.get(claim.subscriber_id))
            else:
                found.append(of.endpoint(claim.subscriber_id))
        return found

    async def _tried(self, reading: Coroutine[Any, Any, T]) -> T | Exception:
        """Return what is read of one tenant, or why it cannot be read; a database that is away is no tenant's fault."""
        try:
            return await reading
        except StoreUnavailableError:
            raise
        except Exception as error:
            return error

    def latest(self, tenant: str) -> TenantView | LargeTenant | None:
        """Return the view that was read last, whatever its version."""
        return self._views.get(tenant)

    def endpoint(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint of a view that was asked for before, if it is held."""
        view = self._views.get(tenant)
        return None if view is None else view.endpoint(endpoint_id)

    async def find_endpoint(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint of a view that was asked for before; one of a large tenant may have to be read again."""
        view = self._views.get(tenant)
        endpoint = None if view is None else view.endpoint(endpoint_id)
        if endpoint is None and isinstance(view, LargeTenant):
            endpoint = (await view.load({endpoint_id})).get(endpoint_id)
        return endpoint

    def forget(self, tenant: str) -> None:
        """Read the tenant anew next time."""
        self._views.pop(tenant, None)
