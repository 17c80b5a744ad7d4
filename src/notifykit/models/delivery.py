"""The unit of work and of retry: one event for one subscriber over one channel to one address."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

if TYPE_CHECKING:
    from .receipt import ProviderReceipt

WEBHOOK: Final = "webhook"


class EventDetails(NamedTuple):
    """What an event says of itself beside its body: for planning, and for channels that render a message.

    Attributes:
        metadata: JSON text.
        category: Of the event's type; ``None`` if the publisher did not know the type, as for ``purpose``.
        topic: The path that subscriptions and mutes match.
        trace: A W3C ``traceparent``.
    """

    resource_kind: str | None = None
    resource_id: str | None = None
    actor: str | None = None
    metadata: str | None = None
    category: str | None = None
    purpose: str | None = None
    topic: str | None = None
    trace: str | None = None


#: Of an event that says nothing more.
NO_DETAILS: Final = EventDetails()


class Priority(StrEnum):
    """How urgent an event is; each priority of a channel is a lane of its own."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Lane(NamedTuple):
    """Deliveries of one channel at one priority, with a concurrency of their own."""

    channel: str
    priority: Priority

    def __str__(self) -> str:
        return self.channel if self.priority is Priority.NORMAL else f"{self.channel}:{self.priority}"


class DeliveryState(StrEnum):
    """The state of a delivery; ``docs/explanation/states.md`` draws the transitions."""

    PENDING = "pending"
    SENDING = "sending"
    HELD = "held"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to the delivery unless it is redriven."""
        return self in FINAL_STATES


FINAL_STATES = frozenset(
    {
        DeliveryState.DELIVERED,
        DeliveryState.DEAD,
        DeliveryState.CANCELLED,
        DeliveryState.EXPIRED,
        DeliveryState.SUPPRESSED,
    }
)
OPEN_STATES = frozenset(DeliveryState) - FINAL_STATES


@attrs.frozen(kw_only=True)
class Delivery:
    """A delivery as the API returns it.

    Attributes:
        subscriber_id: The endpoint (``end_…``) it goes to, or the host's own id of another subscriber.
        reason: Why it is held or ended otherwise than delivered; a stable code.
        attempts: How many attempts have been made, abandoned ones included.
        abandoned: How many of them ended with the worker's death.
        due_at: When the next attempt may start; ``None`` once it has ended.
        generation: How often it has been redriven.
        address: Where on the channel it goes; ``None`` if an endpoint's record says that.
        digest: The name of the digest that it carries, or that it opened and is sent ahead of.
        receipt: The kind of the strongest report of the provider, such as ``bounced``; ``None`` if there is none.
    """

    id: str
    event_id: str
    event_type: str
    tenant: str
    subscription_id: str
    subscriber_id: str
    channel: str
    priority: Priority
    state: DeliveryState
    reason: str | None = None
    attempts: int = 0
    abandoned: int = 0
    generation: int = 0
    ordering_key: str | None = None
    created_at: datetime
    due_at: datetime | None = None
    expires_at: datetime | None = None
    finished_at: datetime | None = None
    address: str | None = None
    digest: str | None = None
    receipt: str | None = None


class Attempt(NamedTuple):
    """One try and its outcome; append-only.

    A named tuple for the same reason as :class:`Claim`.

    Attributes:
        number: 1, 2, 3 … over all generations of the delivery.
        outcome: ``accepted``, ``transient`` … (the class of the outcome) or ``abandoned``.
        reason: The outcome's stable code, such as ``http_503`` or ``timeout``.
        retry_at: When the next attempt was planned for, if one was.
        response: The first bytes of the answer.
        reference: The provider's id of the message, if it gave one.
        account: The provider's account that carried the message, without secrets; ``None`` for webhooks.
        cost: What the message cost, to a millionth, as far as the operator's table says that.
        receipts: What the provider has reported of the message since.
    """

    delivery_id: str
    number: int
    started_at: datetime
    took: timedelta
    outcome: str
    reason: str | None = None
    status: int | None = None
    retry_at: datetime | None = None
    response: bytes = b""
    worker: str = ""
    reference: str | None = None
    account: str | None = None
    cost: Decimal | None = None
    receipts: tuple[ProviderReceipt, ...] = ()


class DigestEntry(NamedTuple):
    """What a planned delivery brings to the digest that collects it.

    Attributes:
        delivery_id: Of the digest's own delivery, if this one opens the digest.
        key: Of the tenant's digests with this key one is open at a time.
        name: Of the digest.
        closes_at: When it closes if this one opens it; an open digest closes then at the earliest, but …
        closes_by: … not after what its opening one said here.
        sends_first: Send this one at once if it opens the digest …
        quiet_since: … and the digest had nothing after this time.
        max_items: How many deliveries are read back; of the one that opens the digest.
    """

    delivery_id: str
    key: str
    name: str
    closes_at: datetime
    closes_by: datetime
    sends_first: bool = False
    quiet_since: datetime | None = None
    max_items: int = 50


class DigestItem(NamedTuple):
    """An event that a digest has collected.

    Attributes:
        delivery_id: Of the delivery that was planned for it.
    """

    delivery_id: str
    event_id: str
    event_type: str
    published_at: datetime
    body: bytes
    details: EventDetails = NO_DETAILS


class Collected(NamedTuple):
    """What a digest has collected.

    Attributes:
        total: How many events.
        items: The first of them, in the order of their ids.
    """

    total: int
    items: tuple[DigestItem, ...]


class NewDelivery(NamedTuple):
    """A delivery that planning decided on.

    Attributes:
        state: ``PENDING``, ``HELD``, ``SUPPRESSED``, or ``SENDING``: such a delivery is stored as leased to
            the planner's own process with fence 1 and needs no claim.
        address: Where on the channel it goes.  ``None`` if an endpoint's record says that: the URL may change
            until the delivery is sent, and the most frequent rows stay as small as they are.
        digest: The digest that collects it: it is ``HELD``, and no row of its own is stored unless it is sent at once.
    """

    id: str
    event_id: str
    tenant: str
    subscription_id: str
    subscriber_id: str
    channel: str
    priority: Priority
    state: DeliveryState
    reason: str | None
    due_at: datetime
    expires_at: datetime | None
    ordering_key: str | None
    address: str | None = None
    digest: DigestEntry | None = None


class Claim(NamedTuple):
    """This worker's time-limited, fenced right to one delivery, with what sending it takes.

    A named tuple rather than an attrs class: one is made per delivery on the hot
    path, and building it is four times cheaper.

    Attributes:
        fence: Grows with every claim; a result is recorded only under the current one.
        attempt: The number of the attempt this claim allows.
        body: The exact bytes that were stored when the event was published.
        tries: How many attempts of this generation came before (abandoned ones not counted).
        version: The tenant's version when the claim was made (see ``Directory``).
        address: Where on the channel it goes; ``None`` if an endpoint's record says that.
        details: What the event says of itself beside its body.
        digest: The name of the digest whose delivery this is, or that it opened and is sent ahead of.  The claim has
            closed the digest.
        collected: What the digest has collected, if that is more than one event; the event of the claim is then the
            one that opened it or, if that is not among them, the first of them.
    """

    delivery_id: str
    fence: int
    attempt: int
    tries: int
    abandoned: int
    tenant: str
    event_id: str
    event_type: str
    subscription_id: str
    subscriber_id: str
    channel: str
    priority: Priority
    ordering_key: str | None
    published_at: datetime
    expires_at: datetime | None
    lease_until: datetime
    body: bytes
    version: int
    address: str | None = None
    details: EventDetails = NO_DETAILS
    digest: str | None = None
    collected: Collected | None = None
