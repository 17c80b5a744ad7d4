"""Values for tests: complete and valid, so that a test names only what it is about.

Ids sort in the order in which they are built, and fit the instant they are built for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import count
from typing import Any

import attrs

from ..models.delivery import WEBHOOK, Attempt, Claim, DeliveryState, NewDelivery, Priority
from ..models.endpoint import Endpoint, EndpointSecret
from ..models.event import StoredEvent
from ..models.ids import ENDPOINT, EVENT, SUBSCRIPTION, delivery_id, recipient_key
from ..models.inbox import IN_APP, InboxItem
from ..models.receipt import ProviderReceipt
from ..models.recipient import Recipient, RecipientAddress
from ..models.subscription import Subscription
from ..ports import Record
from .clock import START

TENANT = "acme"
#: A key that signs nothing real.
SECRET = "whsec_" + "bm90LWEtc2VjcmV0" * 2

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_numbers = count(1)


def make_id(prefix: str, at: datetime = START) -> str:
    """Return an id that sorts after those built before it for the same or an earlier instant."""
    value = int(at.timestamp() * 1000) << 80 | next(_numbers)
    return prefix + "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def make_event(
    *,
    tenant: str = TENANT,
    type: str = "order.created",
    at: datetime = START,
    key: str | None = None,
    body: bytes = b'{"type":"order.created","data":{"id":"A-1"}}',
    **changes: Any,
) -> StoredEvent:
    """Return an event that is published, and due, at ``at``.

    Args:
        key: The idempotency key; the fingerprint is made from ``body``.
        changes: Any other field of :class:`~notifykit.models.event.StoredEvent`.
    """
    event = StoredEvent(
        id=make_id(EVENT, at),
        tenant=tenant,
        type=type,
        version=1,
        topic=None,
        resource_kind=None,
        resource_id=None,
        actor=None,
        occurred_at=at,
        published_at=at,
        due_at=at,
        expires_at=None,
        priority=Priority.NORMAL,
        ordering_key=None,
        idempotency_key=key,
        fingerprint=None if key is None else blake2b(body, digest_size=16).digest(),
        trace=None,
        metadata=None,
        body=body,
    )
    return event._replace(**changes)


def make_endpoint(*, tenant: str = TENANT, at: datetime = START, **changes: Any) -> Endpoint:
    """Return an active endpoint with one secret; ``changes`` are any fields of it."""
    fields: dict[str, Any] = {
        "id": make_id(ENDPOINT, at),
        "url": "https://receiver.example/hooks",
        "secrets": (EndpointSecret(value=SECRET, created_at=at),),
        "created_at": at,
        "updated_at": at,
    }
    return Endpoint(tenant=tenant, **fields | changes)


def make_subscription(endpoint: Endpoint, *, at: datetime = START, **changes: Any) -> Subscription:
    """Return a subscription of ``endpoint`` to every event; ``changes`` are any fields of it."""
    fields: dict[str, Any] = {
        "id": make_id(SUBSCRIPTION, at),
        "tenant": endpoint.tenant,
        "event_types": ("**",),
        "subscriber_id": endpoint.id,
        "created_at": at,
        "updated_at": at,
    }
    return Subscription(**fields | changes)


def make_recipient(id: str = "user:42", *, tenant: str = TENANT, at: datetime = START, **changes: Any) -> Recipient:
    """Return a recipient with an e-mail address; ``changes`` are any fields of it."""
    fields: dict[str, Any] = {
        "addresses": (RecipientAddress(channel="email", address="ada@example.org"),),
        "created_at": at,
        "updated_at": at,
    }
    return Recipient(id=id, tenant=tenant, **fields | changes)


def make_receipt(id: str = "report-1", *, kind: str = "delivered", **changes: Any) -> ProviderReceipt:
    """Return what a provider reports of a message; ``changes`` are any fields of it."""
    fields: dict[str, Any] = {"provider": "postmark", "at": START, "reference": "ref-1"}
    return ProviderReceipt(id=id, kind=kind, **fields | changes)


def make_delivery(
    event: StoredEvent,
    subscriber: str = "end_receiver",
    *,
    address: str | None = None,
    channel: str = WEBHOOK,
    **changes: Any,
) -> NewDelivery:
    """Return a delivery of ``event`` as planning makes it: pending, and due when the event is.

    Args:
        address: Where on the channel it goes; ``None`` for an endpoint.  It distinguishes the deliveries of one event
            to one subscriber.
        changes: Any other field of :class:`~notifykit.ports.NewDelivery`.
    """
    delivery = NewDelivery(
        id=delivery_id(event.id, recipient_key(subscriber, channel, address or "")),
        event_id=event.id,
        tenant=event.tenant,
        subscription_id=SUBSCRIPTION + subscriber.removeprefix(ENDPOINT),
        subscriber_id=subscriber,
        channel=channel,
        priority=event.priority,
        state=DeliveryState.PENDING,
        reason=None,
        due_at=event.due_at,
        expires_at=event.expires_at,
        ordering_key=event.ordering_key,
        address=address,
    )
    return delivery._replace(**changes)


def make_attempt(claim: Claim, *, at: datetime = START, outcome: str = "accepted", **changes: Any) -> Attempt:
    """Return the attempt that ``claim`` allows, ended at ``at``; ``changes`` are any fields of it."""
    took = timedelta(milliseconds=40)
    fields: dict[str, Any] = {
        "delivery_id": claim.delivery_id,
        "number": claim.attempt,
        "started_at": at - took,
        "took": took,
        "worker": "worker-1",
    }
    return Attempt(outcome=outcome, **fields | changes)


def make_record(
    claim: Claim,
    state: DeliveryState,
    *,
    at: datetime = START,
    attempt: Attempt | None = None,
    reason: str | None = None,
    due_at: datetime | None = None,
) -> Record:
    """Return the write that gives the claimed delivery ``state``; without ``attempt``, nothing was sent."""
    return Record(
        delivery_id=claim.delivery_id,
        fence=claim.fence,
        state=state,
        reason=reason,
        due_at=due_at,
        at=at,
        attempt=attempt,
    )


def make_inbox_item(
    recipient: str = "user:42",
    *,
    tenant: str = TENANT,
    event_id: str | None = None,
    at: datetime = START,
    **changes: Any,
) -> InboxItem:
    """Return an item that an event brings into a person's inbox.

    Args:
        changes: Any other field of :class:`~notifykit.models.inbox.InboxItem`.
    """
    event_id = event_id or make_id(EVENT, at)
    item = InboxItem(
        id=delivery_id(event_id, recipient_key(recipient, IN_APP, recipient)),
        tenant=tenant,
        recipient=recipient,
        event_id=event_id,
        event_type="order.shipped",
        title="Your order was shipped",
        created_at=at,
    )
    return attrs.evolve(item, **changes)
