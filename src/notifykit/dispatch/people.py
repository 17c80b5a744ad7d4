"""What planning and sending need to know of recipients: read for a batch at a time, and taken anew for each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ..models.addresses import Suppression
from ..models.audience import NOBODY, Audience
from ..models.delivery import Claim, DeliveryState, NewDelivery
from ..models.event import EventType, TakenEvent
from ..models.event_type import ALL_TENANTS, StoredEventType
from ..models.ids import delivery_id, is_for_person, recipient_key
from ..models.recipient import PREFERENCES, Person, Recipient, TenantPreferences
from ..models.steps import IN_APP, Step, Unless
from ..models.subscription import PEOPLE
from ..models.suppression import SuppressedAddress, suppression_id
from ..models.template import MAX_STORED, StoredTemplate, TenantTemplates, current_of
from ..models.throttle import Throttle
from ..models.unreadable import UnreadableTenantPreferences
from ..policies.audience import (
    ADDRESS_REFUSED,
    NO_CHANNEL,
    NoticePlan,
    addressees,
    decide_claimed,
    notice_plan,
    plan_person,
)
from ..policies.decide import HOLD, SEND, Decision, Hold, Suppress
from ..ports import MAX_IDS, DeliveryFilter, Digests, Inbox, Store
from .caps import cap_claimed, cap_countries_claimed, cap_countries_planned, cap_planned
from .directory import CAPACITY, Directory

#: What the suppression lists say of recipients' addresses, by tenant and recipient.
_Listed = Mapping[tuple[str, str], Sequence[Suppression]]
#: Returns an event type that this program declares.
DeclaredTypes = Callable[[str], EventType | None]
_NOBODY = TenantPreferences(tenant="-")


class Page:
    """A page of the plan of an event; the ``deliveries`` to people are worked out in place.

    Attributes:
        audience: The event's.
        named: The recipients of it that are planned with this page.
    """

    __slots__ = ("audience", "cursor", "deliveries", "event", "named")

    def __init__(
        self,
        event: TakenEvent,
        deliveries: list[NewDelivery],
        cursor: str | None,
        audience: Audience = NOBODY,
        named: Sequence[str] = (),
    ) -> None:
        self.event = event
        self.deliveries = deliveries
        self.cursor = cursor
        self.audience = audience
        self.named = named

    def addressees(self) -> dict[str, str]:
        """Return the recipients to read before it is complete (see :func:`~notifykit.policies.audience.addressees`)."""
        matched = [new for new in self.deliveries if new.channel == PEOPLE]
        if not matched and not self.named:
            return {}
        return addressees(self.audience, self.named, matched)


class _Known(NamedTuple):
    """What was read for one batch."""

    recipients: Mapping[tuple[str, str], Recipient]
    tenants: Mapping[str, _Tenant]
    types: Mapping[str, StoredEventType]


class _Tenant(NamedTuple):
    """What was read of a tenant, which is not older than its ``version``."""

    version: int
    preferences: TenantPreferences | None
    has_list: bool
    templates: TenantTemplates | None

    def person(self, recipient: Recipient) -> Person:
        """Return a recipient as renderers know them."""
        return (_NOBODY if self.preferences is None else self.preferences).person(recipient, self.templates)


class People:
    """Recipients, in batches.

    Args:
        directory: Gets the destinations that recipients' addresses yield.
        channels: The names of this process's channels.
        declared: Knows the event types of this program, for those that are not stored (yet).
        sms_caps: How many text messages a tenant's people get, by country.
    """

    def __init__(
        self,
        store: Store,
        directory: Directory,
        channels: Collection[str],
        declared: DeclaredTypes,
        *,
        sms_caps: Mapping[str, Throttle] | None = None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._channels = frozenset(channels)
        self._declared = declared
        self._sms_caps = sms_caps or {}
        self._collects = isinstance(store, Digests)
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()

    # -- planning --------------------------------------------------------------------------------

    async def complete(self, pages: Sequence[tuple[Page, Mapping[str, str]]], now: datetime) -> None:
        """Put into each page the deliveries to its addressees, which are read at one go."""
        named: dict[str, set[str]] = {}
        versions: dict[str, int] = {}
        for page, wanted in pages:
            event = page.event
            named.setdefault(event.tenant, set()).update(wanted)
            versions[event.tenant] = max(event.tenant_version, versions.get(event.tenant, 0))
        known = await self._read(named, versions, {page.event.type for page, _ in pages})
        plans = [self._plan(page.event, page.event.type, known, page.audience.channels) for page, _ in pages]
        channels = {step.channel for plan in plans for step in plan.steps}
        listed = await self._suppressed(
            known,
            (
                (recipient, each.channel, each.address)
                for recipient in known.recipients.values()
                for each in recipient.addresses
                if each.channel in channels
            ),
        )
        planned = [
            (page, self._complete(page, plan, wanted, known, listed, now))
            for (page, wanted), plan in zip(pages, plans, strict=True)
        ]
        # An event that another planner has had comes here for the second time, and its tokens are taken already.
        new = [(page.deliveries, plan) for page, plan in planned if page.event.fence == 1 or page.event.cursor]
        await cap_planned(self._store, new, now)
        if self._sms_caps:
            await cap_countries_planned(self._store, new, self._sms_caps, now)

    def _complete(
        self,
        page: Page,
        plan: NoticePlan,
        wanted: Mapping[str, str],
        known: _Known,
        listed: _Listed,
        now: datetime,
    ) -> NoticePlan:
        event = page.event
        tenant = known.tenants[event.tenant]
        page.deliveries[:] = [new for new in page.deliveries if new.channel != PEOPLE]
        for recipient_id, subscription_id in wanted.items():
            recipient = known.recipients.get((event.tenant, recipient_id))
            made = plan_person(
                event,
                plan,
                recipient_id,
                recipient,
                tenant.preferences,
                subscription_id=subscription_id,
                listed=listed.get((event.tenant, recipient_id), ()),
                now=now,
            )
            page.deliveries.extend(made)
            if recipient is not None:
                self._directory.introduce(event.tenant, tenant.person(recipient), _apps(recipient))
        return plan

    # -- waking ----------------------------------------------------------------------------------

    async def decide(self, claims: Sequence[Claim], now: datetime) -> dict[str, Decision]:
        """Decide anew about those of some claims that are for people; return each decision but :data:`SEND`.

        Their recipients are read at one go.
        """
        theirs = [claim for claim in claims if is_for_person(claim.subscription_id, claim.address)]
        if not theirs:
            return {}
        named: dict[str, set[str]] = {}
        versions: dict[str, int] = {}
        for claim in theirs:
            named.setdefault(claim.tenant, set()).add(claim.subscriber_id)
            versions[claim.tenant] = max(claim.version, versions.get(claim.tenant, 0))
        known = await self._read(named, versions, {claim.event_type for claim in theirs})
        plans = {claim.delivery_id: self._plan(claim, claim.event_type, known) for claim in theirs}
        earlier = await self._earlier(theirs, plans, known)
        marks = await self._marks(theirs, plans)
        listed = await self._suppressed(
            known,
            (
                (recipient, claim.channel, claim.address or "")
                for claim in theirs
                if (recipient := known.recipients.get((claim.tenant, claim.subscriber_id))) is not None
                and claim.channel != IN_APP
            ),
        )
        found: dict[str, Decision] = {}
        for claim in theirs:
            recipient = known.recipients.get((claim.tenant, claim.subscriber_id))
            tenant = known.tenants[claim.tenant]
            address = claim.address or ""
            decision = decide_claimed(
                plans[claim.delivery_id],
                claim.channel,
                address,
                recipient,
                tenant.preferences,
                claim=claim,
                earlier=earlier.get(claim.delivery_id, ()),
                marks=marks.get(claim.delivery_id, ()),
                listed=listed.get((claim.tenant, claim.subscriber_id), ()),
                now=now,
            )
            if decision is SEND and recipient is not None:
                decision = self._prime(claim.channel, address, recipient, tenant.person(recipient), now)
            if decision is not SEND:
                found[claim.delivery_id] = decision
        found |= await cap_claimed(self._store, theirs, plans, found, now)
        if self._sms_caps:
            found |= await cap_countries_claimed(self._store, theirs, plans, found, self._sms_caps, now)
        return found

    async def _earlier(
        self, claims: Iterable[Claim], plans: Mapping[str, NoticePlan], known: _Known
    ) -> dict[str, list[DeliveryState]]:
        """Return the states of the deliveries over the steps before, for each claim of a fallback."""
        before: dict[str, list[str]] = {}
        wanted: dict[str, list[str]] = {}
        for claim in claims:
            step = plans[claim.delivery_id].step(claim.channel)
            recipient = known.recipients.get((claim.tenant, claim.subscriber_id))
            if step is not None and step.fallback and recipient is not None:
                steps = plans[claim.delivery_id].before(step)
                before[claim.delivery_id] = _delivery_ids(claim.event_id, recipient, steps)
                wanted.setdefault(claim.tenant, []).extend(before[claim.delivery_id])
        states: dict[str, DeliveryState] = {}
        for tenant, ids in wanted.items():
            for at in range(0, len(ids), MAX_IDS):
                some = DeliveryFilter(ids=ids[at : at + MAX_IDS])
                found = await self._store.find_deliveries(tenant, some, limit=MAX_IDS)
                states.update((delivery.id, delivery.state) for delivery in found)
        return {of: [states[id_] for id_ in ids if id_ in states] for of, ids in before.items()}

    async def _marks(self, claims: Iterable[Claim], plans: Mapping[str, NoticePlan]) -> dict[str, set[Unless]]:
        """Return what was done with the inbox item of each claim whose step asks for that."""
        if not isinstance(self._store, Inbox):
            return {}
        wanted: dict[str, dict[str, tuple[str, str]]] = {}
        for claim in claims:
            step = plans[claim.delivery_id].step(claim.channel)
            if step is not None and step.unless:
                wanted.setdefault(claim.tenant, {})[claim.delivery_id] = (claim.subscriber_id, claim.event_id)
        found: dict[str, set[Unless]] = {}
        for tenant, items in wanted.items():
            marks = await self._store.inbox_marks(tenant, set(items.values()))
            for id_, item in items.items():
                if item in marks:
                    at = {Unless.SEEN: marks[item].seen_at, Unless.READ: marks[item].read_at}
                    found[id_] = {mark for mark, when in at.items() if when is not None}
        return found

    # -- both ------------------------------------------------------------------------------------

    async def _read(
        self, named: Mapping[str, Collection[str]], versions: Mapping[str, int], types: Collection[str]
    ) -> _Known:
        recipients: dict[tuple[str, str], Recipient] = {}
        tenants: dict[str, _Tenant] = {}
        for tenant, ids in named.items():
            for recipient in await self._store.get(Recipient, tenant, ids):
                recipients[tenant, recipient.id] = recipient
            tenants[tenant] = await self._tenant(tenant, versions[tenant])
        known = await self._store.get(StoredEventType, ALL_TENANTS, types)
        return _Known(recipients, tenants, {each.id: each for each in known})

    async def _suppressed(self, known: _Known, addresses: Iterable[tuple[Recipient, str, str]]) -> _Listed:
        """Return what the tenants' lists say of addresses: one read for each tenant that has a list."""
        if not any(tenant.has_list for tenant in known.tenants.values()):
            return {}
        wanted: dict[str, dict[str, list[tuple[str, str]]]] = {}
        for recipient, channel, address in addresses:
            if known.tenants[recipient.tenant].has_list:
                id_ = suppression_id(recipient.tenant, channel, address)
                wanted.setdefault(recipient.tenant, {}).setdefault(id_, []).append((recipient.id, address))
        found: dict[tuple[str, str], list[Suppression]] = {}
        for tenant, of in wanted.items():
            for suppressed in await self._store.get(SuppressedAddress, tenant, of):
                for recipient_id, address in of[suppressed.id]:
                    found.setdefault((tenant, recipient_id), []).extend(suppressed.forbids(address))
        return found

    async def _tenant(self, tenant: str, version: int) -> _Tenant:
        """Return what a tenant says for all, and whether it has a list: read again if its version has changed since."""
        kept = self._tenants.get(tenant)
        if kept is not None and kept.version >= version:
            self._tenants.move_to_end(tenant)
            return kept
        preferences = next(iter(await self._store.get(TenantPreferences, tenant, [PREFERENCES])), None)
        has_list = bool(await self._store.page(SuppressedAddress, tenant, limit=1))
        stored = await self._store.page(StoredTemplate, tenant, limit=MAX_STORED)
        found = _Tenant(version, preferences, has_list, current_of(stored))
        is_damaged = isinstance(preferences, UnreadableTenantPreferences) or (
            found.templates is not None and found.templates.unreadable
        )
        if not is_damaged:  # a repair of the row need not change the version
            self._tenants[tenant] = found
            self._tenants.move_to_end(tenant)
            if len(self._tenants) > CAPACITY:
                self._tenants.popitem(last=False)
        return found

    def _plan(
        self, of: TakenEvent | Claim, type_name: str, known: _Known, channels: Collection[str] = ()
    ) -> NoticePlan:
        event_type = known.types.get(type_name)
        if event_type is None and (declared := self._declared(type_name)) is not None:
            event_type = StoredEventType.of(declared)
        return notice_plan(
            type_name,
            of.details,
            event_type,
            expires_at=of.expires_at,
            body=of.body,
            channels=channels,
            available=self._channels,
            collects=self._collects,
        )

    def _prime(self, channel: str, address: str, recipient: Recipient, person: Person, now: datetime) -> Decision:
        """Give the directory the destination that an address of a recipient yields now; decide what to do without."""
        try:
            app = next((each.app for each in recipient.addresses_on(channel) if each.address == address), None)
            destination = self._directory.prime(recipient.tenant, recipient.id, channel, address, person, app)
        except Exception:
            return Suppress(ADDRESS_REFUSED)
        return Hold(now + HOLD, NO_CHANNEL) if destination is None else SEND


def _apps(recipient: Recipient) -> Mapping[str, str]:
    """Return the app of each address that is of one."""
    return {each.address: each.app for each in recipient.addresses if each.app is not None}


def _delivery_ids(event_id: str, recipient: Recipient, steps: Iterable[Step]) -> list[str]:
    """Return the ids that an event's deliveries to a recipient over some steps have, made or not."""
    found = []
    for step in steps:
        on = [each.address for each in recipient.addresses_on(step.channel)]
        if step.channel == IN_APP:
            on.append(recipient.id)
        found += [delivery_id(event_id, recipient_key(recipient.id, step.channel, address)) for address in on]
    return found
