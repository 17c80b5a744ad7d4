"""What this process knows of each tenant's configuration: fresh by version, bounded in number."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import timedelta

import attrs

from ..models.endpoint import Endpoint
from ..models.subscription import TenantConfig
from ..policies.plan import SubscriptionIndex
from ..ports import Subscriptions

#: Tenants whose configuration is kept at the same time.
CAPACITY = 4096
_MANY = 2000


@attrs.frozen
class TenantView:
    """One tenant's configuration, compiled."""

    version: int
    index: SubscriptionIndex
    endpoints: dict[str, Endpoint]


async def _compiled(config: TenantConfig, max_timeout: timedelta) -> TenantView:
    def cut(endpoint: Endpoint) -> Endpoint:
        return endpoint if endpoint.timeout <= max_timeout else attrs.evolve(endpoint, timeout=max_timeout)

    def compiled() -> TenantView:
        return TenantView(config.version, SubscriptionIndex(config), {e.id: cut(e) for e in config.endpoints})

    # A hundred thousand subscriptions take a second to compile, which the senders should not stand still for.
    return compiled() if len(config.subscriptions) < _MANY else await asyncio.to_thread(compiled)


class Directory:
    """Compiled configurations by tenant.

    Every take and claim carries the tenant's version from the same statement, so
    what is planned or sent is never older than what was committed before it.

    Args:
        max_timeout: Endpoints with a longer deadline are shown with this one.
    """

    def __init__(self, store: Subscriptions, max_timeout: timedelta) -> None:
        self._store = store
        self._max_timeout = max_timeout
        self._views: OrderedDict[str, TenantView] = OrderedDict()

    def known(self, tenant: str, version: int) -> TenantView | None:
        """Return the view if it is at least as new as ``version``."""
        view = self._views.get(tenant)
        return view if view is not None and view.version >= version else None

    async def view(self, tenant: str, version: int) -> TenantView:
        """Return the tenant's view, reading it from the store if it is older than ``version``."""
        view = self.known(tenant, version)
        if view is None:
            config = await self._store.load_tenant(tenant)
            view = await _compiled(config, self._max_timeout)
            self._views[tenant] = view
        self._views.move_to_end(tenant)
        while len(self._views) > CAPACITY:
            self._views.popitem(last=False)
        return view

    def latest(self, tenant: str) -> TenantView | None:
        """Return the view that was read last, whatever its version."""
        return self._views.get(tenant)

    def endpoint(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint of a view that was asked for before."""
        view = self._views.get(tenant)
        return None if view is None else view.endpoints.get(endpoint_id)

    def forget(self, tenant: str) -> None:
        """Read the tenant anew next time."""
        self._views.pop(tenant, None)
