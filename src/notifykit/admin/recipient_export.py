"""Everything that is known of a person, as JSON types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from ..codec import loads, unstructure
from ..errors import NotFoundError
from ..models.delivery import Attempt, Delivery
from ..models.event import StoredEvent
from ..models.inbox import InboxFilter, InboxItem, InboxState
from ..models.recipient import Recipient, RecipientAddress
from ..models.subscription import Subscription
from ..models.suppression import SuppressedAddress, suppression_id
from ..ports import DeliveryFilter, EventFilter, Inbox, Store

_PAGE = 500


async def export(store: Store, tenant: str, recipient_id: str) -> dict[str, Any]:
    """Return a person's record, subscriptions, inbox, deliveries with their attempts, and the events of these.

    What the suppression list of the tenant says of the addresses in these is there as well.

    Raises:
        NotFoundError: Nothing is known of such a person.
    """
    found = await store.get(Recipient, tenant, [recipient_id])
    subscriptions = [each async for each in _subscriptions(store, tenant, recipient_id)]
    deliveries = [each async for each in _deliveries(store, tenant, recipient_id)]
    inbox = [each async for each in _inbox(store, tenant, recipient_id)]
    if not (found or subscriptions or deliveries or inbox):
        raise NotFoundError("recipient", recipient_id)
    known: list[RecipientAddress | Subscription | Delivery] = [*subscriptions, *deliveries]
    known += found[0].addresses if found else ()
    addresses = {(each.channel, each.address) for each in known if each.address is not None}
    events = [each async for each in _events(store, tenant, {delivery.event_id for delivery in deliveries})]
    return {
        "recipient": unstructure(found[0]) if found else None,
        "subscriptions": [unstructure(subscription) for subscription in subscriptions],
        "inbox": [_item(item) for item in inbox],
        "deliveries": [
            {
                **unstructure(delivery),
                "attempts": [_attempt(attempt) for attempt in await store.attempts(tenant, delivery.id)],
            }
            for delivery in deliveries
        ],
        "events": [_event(event) for event in events],
        "suppressions": [entry async for entry in _suppressions(store, tenant, addresses)],
    }


async def _subscriptions(store: Store, tenant: str, recipient_id: str) -> AsyncIterator[Subscription]:
    last = None
    while True:
        page = await store.page(Subscription, tenant, subscriber_id=recipient_id, limit=_PAGE, after=last)
        for subscription in page:
            yield subscription
        if len(page) < _PAGE:
            return
        last = page[-1].id


async def _inbox(store: Store, tenant: str, recipient_id: str) -> AsyncIterator[InboxItem]:
    if not isinstance(store, Inbox):
        return
    for state in (InboxState.ACTIVE, InboxState.SNOOZED, InboxState.ARCHIVED):
        wanted, last, now = InboxFilter(state=state), None, datetime.now(UTC)
        while True:
            page = await store.inbox_page(tenant, recipient_id, wanted, now=now, limit=_PAGE, after=last)
            for item in page.items:
                yield item
            if (last := page.next) is None:
                break


def _item(item: InboxItem) -> dict[str, Any]:
    marks = {name: unstructure(at) for name, at in item.marks._asdict().items()}
    return {**unstructure(item), "marks": marks}


async def _deliveries(store: Store, tenant: str, recipient_id: str) -> AsyncIterator[Delivery]:
    last = None
    wanted = DeliveryFilter(subscriber_id=recipient_id)
    while True:
        page = await store.find_deliveries(tenant, wanted, limit=_PAGE, before=last)
        for delivery in page:
            yield delivery
        if len(page) < _PAGE:
            return
        last = page[-1].id


async def _events(store: Store, tenant: str, ids: Iterable[str]) -> AsyncIterator[StoredEvent]:
    wanted = sorted(ids)
    for at in range(0, len(wanted), _PAGE):
        for event in await store.find_events(tenant, EventFilter(ids=wanted[at : at + _PAGE]), limit=_PAGE):
            yield event


async def _suppressions(
    store: Store, tenant: str, addresses: Iterable[tuple[str, str]]
) -> AsyncIterator[dict[str, Any]]:
    """Yield the entries of addresses, with the addresses, of which the list has only hashes."""
    ids = {suppression_id(tenant, *each): each for each in sorted(addresses)}
    wanted = sorted(ids)
    for at in range(0, len(wanted), _PAGE):
        page = await store.get(SuppressedAddress, tenant, wanted[at : at + _PAGE])
        for found in sorted(page, key=attrgetter("id")):
            channel, address = ids[found.id]
            for entry in found.entries:
                yield {"channel": channel, "address": address, **unstructure(entry)}


def _attempt(attempt: Attempt) -> dict[str, Any]:
    fields = {**attempt._asdict(), "response": attempt.response.decode(errors="replace")}
    return {name: unstructure(value) for name, value in fields.items()}


def _event(event: StoredEvent) -> dict[str, Any]:
    names = ("id", "type", "topic", "resource_kind", "resource_id", "actor", "occurred_at", "published_at")
    return {
        **{name: unstructure(getattr(event, name)) for name in names},
        "metadata": None if event.metadata is None else loads(event.metadata.encode()),
        "data": loads(event.body)["data"],
    }
