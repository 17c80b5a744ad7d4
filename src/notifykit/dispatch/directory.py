"""What this process knows of each tenant's configuration: fresh by version, bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import attrs

from ..errors import StoreUnavailableError
from ..models.delivery import Claim, NewDelivery
from ..models.destination import Destination, destination_of
from ..models.endpoint import Endpoint
from ..models.event import TakenEvent
from ..models.ids import is_for_person
from ..models.recipient import Person
from ..models.subscription import TenantConfig
from ..policies.plan import OPERATIONAL_TYPES, SubscriptionIndex, plan_page
from ..ports import AddressedChannel, Channel, Store
from .large_tenants import LargeTenant, LargeTenants

K = TypeVar("K")
T = TypeVar("T")
View = TypeVar("View", bound="TenantView | LargeTenant")
#: Tenant, subscriber, channel and address.
_Address = tuple[str, str, str, str]

#: Tenants whose configuration is kept at the same time.
CAPACITY = 4096
#: Tenants whose configuration is read at one go: some milliseconds, during which nothing else is planned or sent.
AT_ONE_GO = 24
#: A tenant with more endpoints or subscriptions than this is large: no process holds its whole
#: configuration; the store finds what an event needs of it.
LARGE = 2000
#: Destinations without an endpoint's record that are kept at the same time.
ADDRESSES = 12_000


class TenantView:
    """One tenant's configuration, compiled."""

    def __init__(self, version: int, index: SubscriptionIndex, destinations: dict[str, Destination]) -> None:
        self.version = version
        self.index = index
        self.destinations = destinations

    def plan(self, event: TakenEvent, *, now: datetime, most: int) -> tuple[list[NewDelivery], str | None]:
        """Return a page of deliveries, and the cursor of the next (see :func:`plan_page`)."""
        return plan_page(event, self.index, now=now, most=most)

    def endpoint(self, endpoint_id: str) -> Destination | None:
        """Return the destination that an endpoint of the tenant yields."""
        return self.destinations.get(endpoint_id)

    def wants(self, type_: str) -> bool:
        """Tell whether a subscription names a type of operational events."""
        return bool(self.index.named(type_))


class Directory:
    """What planning and sending need to know, by tenant.

    Every take and claim carries the tenant's version from the same statement, so
    what is planned or sent is never older than what was committed before it.

    Destinations of endpoints are made once for each version of a tenant's configuration; those
    of other addresses are made by their channels, and kept while they are in use.

    Args:
        max_timeout: Destinations with a longer deadline get this one.
        channels: By name.
    """

    def __init__(self, store: Store, max_timeout: timedelta, channels: Mapping[str, Channel]) -> None:
        self._store = store
        self._max_timeout = max_timeout
        self._addressed: dict[str, AddressedChannel] = {
            name: channel for name, channel in channels.items() if isinstance(channel, AddressedChannel)
        }
        self._views: OrderedDict[str, TenantView | LargeTenant] = OrderedDict()
        self._large = LargeTenants(store, self._destination_of)
        self._made: OrderedDict[_Address, Destination] = OrderedDict()
        #: With the app of each address that is of one.
        self._persons: OrderedDict[tuple[str, str], tuple[Person, Mapping[str, str]]] = OrderedDict()

    def known(self, tenant: str, version: int) -> TenantView | LargeTenant | None:
        """Return the view if it is at least as new as ``version``."""
        view = self._views.get(tenant)
        return view if view is not None and view.version >= version else None

    async def view(self, tenant: str, version: int) -> TenantView | LargeTenant:
        """Return the tenant's view, read from the store if it is older than ``version``."""
        view = self.known(tenant, version)
        return await self._read(tenant, version) if view is None else self._keep_view(tenant, view)

    async def read(self, wanted: Mapping[str, int]) -> None:
        """Read the views of tenants that are older than the versions named, as many at one go as take little time.

        One that cannot be read, and a large one, is left to :meth:`view`.
        """
        unknown = [tenant for tenant, version in wanted.items() if self.known(tenant, version) is None]
        for at in range(0, len(unknown) if len(unknown) > 1 else 0, AT_ONE_GO):
            some = unknown[at : at + AT_ONE_GO]
            try:
                configs = await self._store.load_tenants(some, most=LARGE)
            except StoreUnavailableError:
                raise
            except Exception:  # noqa: S112 - of one of them, which is found when each is read by itself
                continue
            for tenant, config in configs.items():
                if config is not None:
                    self._keep_view(tenant, self._compiled(config))

    async def _read(self, tenant: str, version: int) -> TenantView | LargeTenant:
        config = (await self._store.load_tenants([tenant], most=LARGE))[tenant]
        if config is None:
            return self._keep_view(tenant, await self._large.view(tenant, version, OPERATIONAL_TYPES))
        return self._keep_view(tenant, self._compiled(config))

    def _keep_view(self, tenant: str, view: View) -> View:
        self._views[tenant] = view
        self._views.move_to_end(tenant)
        while len(self._views) > CAPACITY:
            self._views.popitem(last=False)
        return view

    def _compiled(self, config: TenantConfig) -> TenantView:
        destinations = {endpoint.id: self._destination_of(endpoint) for endpoint in config.endpoints}
        return TenantView(config.version, SubscriptionIndex.of(config), destinations)

    def _destination_of(self, endpoint: Endpoint) -> Destination:
        return destination_of(endpoint, max_timeout=self._max_timeout)

    async def prepare(self, taken: Sequence[TakenEvent]) -> None:
        """Read at one go what a batch of events needs of large tenants."""
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
            except Exception:  # noqa: S112 - planning reports it for each of this tenant's events; the others are read
                continue

    def planned(self, view: TenantView | LargeTenant, new: NewDelivery) -> Destination | None:
        """Return the destination of a delivery that was planned from ``view``, if it is held."""
        if new.address is None:
            return view.endpoint(new.subscriber_id)
        key = new.tenant, new.subscriber_id, new.channel, new.address
        if not is_for_person(new.subscription_id, new.address):
            return self._addressed_one(*key)
        known = self._persons.get((new.tenant, new.subscriber_id))
        if known is None:
            return None
        person, apps = known
        try:
            return self.prime(*key, person, apps.get(new.address))
        except Exception:
            return None

    async def destinations_of(self, claims: Sequence[Claim]) -> list[Destination | Exception | None]:
        """Return the destination of each claim, as new as the claim.

        ``None`` stands where there is none any more, and an exception where the tenant cannot be read.
        """
        views: dict[str, TenantView | LargeTenant | Exception] = {}
        wanted: dict[LargeTenant, set[str]] = {}
        await self.read({claim.tenant: claim.version for claim in claims})
        for claim in claims:
            if isinstance(views.get(claim.tenant), Exception):
                continue
            view = views[claim.tenant] = await self._tried(self.view(claim.tenant, claim.version))
            if isinstance(view, LargeTenant) and claim.address is None:
                wanted.setdefault(view, set()).add(claim.subscriber_id)
        loaded = {view.tenant: await self._tried(view.load(endpoint_ids)) for view, endpoint_ids in wanted.items()}
        found: list[Destination | Exception | None] = []
        for claim in claims:
            of = loaded.get(claim.tenant, views[claim.tenant])
            if isinstance(of, Exception):
                found.append(of)
            elif claim.address is not None:
                found.append(self._of_claim(claim, claim.address))
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

    def destination(self, claim: Claim) -> Destination | None:
        """Return the destination of a claim whose tenant's view was read before, if it is held."""
        if claim.address is not None:
            return self._of_claim(claim, claim.address)
        view = self._views.get(claim.tenant)
        return None if view is None else view.endpoint(claim.subscriber_id)

    async def find_destination(self, claim: Claim) -> Destination | None:
        """Return the destination as :meth:`destination` does; that of a large tenant may have to be read again."""
        destination = self.destination(claim)
        if destination is None and claim.address is None:
            view = self._views.get(claim.tenant)
            if isinstance(view, LargeTenant):
                destination = (await view.load({claim.subscriber_id})).get(claim.subscriber_id)
        return destination

    def forget(self, tenant: str) -> None:
        """Read the tenant anew next time."""
        self._views.pop(tenant, None)

    def introduce(self, tenant: str, person: Person, apps: Mapping[str, str]) -> None:
        """Keep what is known of a recipient, for deliveries of theirs that are planned next.

        Args:
            apps: The app of each address that is of one.
        """
        _keep(self._persons, (tenant, person.id), (person, apps))

    def prime(
        self, tenant: str, recipient_id: str, channel: str, address: str, person: Person, app: str | None
    ) -> Destination | None:
        """Make and keep the destination of a recipient's address, with what is known of the recipient now.

        Returns:
            ``None`` if this process has no such channel for addresses.

        Raises:
            Exception: Whatever the channel raises for an address that it cannot use.
        """
        key = tenant, recipient_id, channel, address
        made = self._made.get(key)
        if made is not None and made.app == app and (made.config is person or made.config == person):
            return made
        destination = self._make(*key, app)
        if destination is not None:
            destination = attrs.evolve(destination, config=person)
            _keep(self._made, key, destination)
        return destination

    def _of_claim(self, claim: Claim, address: str) -> Destination | None:
        key = claim.tenant, claim.subscriber_id, claim.channel, address
        return self._made.get(key) if is_for_person(claim.subscription_id, address) else self._addressed_one(*key)

    def _addressed_one(self, tenant: str, subscriber_id: str, channel: str, address: str) -> Destination | None:
        """Return what a channel makes of an address; ``None`` if this process has no such channel."""
        key = tenant, subscriber_id, channel, address
        destination = self._made.get(key)
        if destination is not None:
            self._made.move_to_end(key)
            return destination
        destination = self._make(*key)
        if destination is not None:
            _keep(self._made, key, destination)
        return destination

    def _make(
        self, tenant: str, subscriber_id: str, channel: str, address: str, app: str | None = None
    ) -> Destination | None:
        maker = self._addressed.get(channel)
        if maker is None:
            return None
        of: dict[str, str] = {} if app is None else {"app": app}
        destination = maker.destination(tenant=tenant, subscriber_id=subscriber_id, address=address, **of)
        if destination.timeout > self._max_timeout:
            destination = attrs.evolve(destination, timeout=self._max_timeout)
        return destination


def _keep(kept: OrderedDict[K, T], key: K, value: T) -> None:
    """Keep a value; what was used the longest ago makes room."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > ADDRESSES:
        kept.popitem(last=False)
