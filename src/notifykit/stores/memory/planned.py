"""The memory store's planned deliveries: as rows of their own, or collected in digests."""

from __future__ import annotations

from datetime import datetime

from ...models.delivery import FINAL_STATES, Delivery, DeliveryState, DigestEntry, NewDelivery
from ...policies.digest import carrier_of, sent_ahead
from .digests import Item
from .tables import Row, Tables


def add(tables: Tables, new: NewDelivery, now: datetime, until: datetime | None = None, worker: str = "") -> None:
    """Add a planned delivery; one in state ``SENDING`` is leased to ``worker``."""
    ended = new.state in FINAL_STATES
    row = Row(
        Delivery(
            id=new.id,
            event_id=new.event_id,
            event_type=tables.events[new.event_id].type,
            tenant=new.tenant,
            subscription_id=new.subscription_id,
            subscriber_id=new.subscriber_id,
            channel=new.channel,
            priority=new.priority,
            state=new.state,
            reason=new.reason,
            ordering_key=new.ordering_key,
            created_at=new.due_at if new.state is DeliveryState.SENDING else now,
            due_at=None if ended else new.due_at,
            expires_at=new.expires_at,
            finished_at=now if ended else None,
            address=new.address,
            digest=None if new.digest is None else new.digest.name,
        )
    )
    tables.add(row)
    if new.state is DeliveryState.SENDING:
        assert until is not None, "a lease ends"
        row.fence, row.worker, row.claimed_at = 1, worker, now
        tables.lease(row, until)


def settle_collected(tables: Tables, new: NewDelivery, now: datetime) -> None:
    """Have a digest collect a planned delivery, unless it is there already."""
    if new.id not in tables.rows and not tables.digests.has(new.id) and _opens(tables, new, now):
        add(tables, sent_ahead(new), now)


def collect_claimed(tables: Tables, row: Row, entry: DigestEntry, now: datetime) -> None:
    """Move a claimed delivery into a digest."""
    its = tables.remove(row)
    new = NewDelivery(
        id=its.id,
        event_id=its.event_id,
        tenant=its.tenant,
        subscription_id=its.subscription_id,
        subscriber_id=its.subscriber_id,
        channel=its.channel,
        priority=its.priority,
        state=DeliveryState.HELD,
        reason=None,
        due_at=now,
        expires_at=None,
        ordering_key=None,
        address=its.address,
        digest=entry._replace(sends_first=False),
    )
    _opens(tables, new, now)


def _opens(tables: Tables, new: NewDelivery, now: datetime) -> bool:
    """Have a digest collect a delivery; return whether it opens the digest and is sent ahead of it instead."""
    assert new.digest is not None, "it names its digest"
    digest, is_new, goes_ahead = tables.digests.join(new.tenant, new.digest, now)
    if is_new:
        add(tables, carrier_of(new, digest.closes_at), now)
    elif (held := tables.rows[digest.id]).delivery.due_at != digest.closes_at:
        tables.move(held, due_at=digest.closes_at)
    if not goes_ahead:
        tables.digests.add(digest, new.id, Item(new.event_id, now))
    return goes_ahead
