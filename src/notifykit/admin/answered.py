"""Cancels the later steps that are needless because the person has seen or read the event's inbox item.

A claim decides the same when its step is due.  This does it at once, so that what is recorded tells the truth early,
and so that an open digest loses what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime

from ..models.delivery import Delivery
from ..models.event import EventType
from ..models.event_type import ALL_TENANTS, StoredEventType
from ..models.ids import delivery_id, event_of, recipient_key
from ..models.inbox import IN_APP
from ..models.recipient import Recipient
from ..models.steps import Unless
from ..ports import MAX_IDS, DeliveryFilter, Move, Store


async def cancel_answered(
    store: Store,
    declared: Callable[[str], EventType | None],
    tenant: str,
    recipient_id: str,
    items: Collection[str],
    mark: Unless,
    now: datetime,
) -> int:
    """Cancel what waits of the events of these inbox items and has a condition that the mark answers; return how many.

    Args:
        declared: Knows the event types of this program, for those that are not stored.
        items: Ids of inbox items; those of deliveries follow from them, so that nothing is searched.
    """
    cancelled = 0
    for recipient in await store.get(Recipient, tenant, [recipient_id]):
        ids = list(_later(recipient, items))
        for at in range(0, len(ids), MAX_IDS):
            some = DeliveryFilter(ids=ids[at : at + MAX_IDS])
            waiting = DeliveryFilter(ids=some.ids, states=some.states_for(Move.CANCEL))
            found = await store.find_deliveries(tenant, waiting, limit=MAX_IDS)
            if answered := await _answered(store, declared, found, mark):
                its = DeliveryFilter(ids=answered)
                cancelled += await store.move(tenant, its, Move.CANCEL, now=now, reason=mark.value)
    return cancelled


def _later(recipient: Recipient, items: Collection[str]) -> Iterator[str]:
    """Yield the ids that deliveries of the items' events to the person's addresses have, made or not."""
    keys = [recipient_key(recipient.id, each.channel, each.address) for each in recipient.addresses]
    return (delivery_id(event, key) for event in {event_of(item) for item in items} for key in keys)


async def _answered(
    store: Store, declared: Callable[[str], EventType | None], found: Collection[Delivery], mark: Unless
) -> list[str]:
    """Return the ids of those deliveries whose step is needless now."""
    names = {delivery.event_type for delivery in found}
    types = {each.id: each.steps for each in await store.get(StoredEventType, ALL_TENANTS, names)} if names else {}
    for name in names - types.keys():
        own = declared(name)
        types[name] = () if own is None else own.steps
    answered = {(name, step.channel) for name, steps in types.items() for step in steps if step.is_answered_by({mark})}
    return [each.id for each in found if (each.event_type, each.channel) in answered and each.channel != IN_APP]
