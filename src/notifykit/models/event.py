"""Something that happened, as it is published, stored and planned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from .checks import listed
from .delivery import NO_DETAILS, EventDetails, Priority
from .steps import MAX_STEPS, Step

if TYPE_CHECKING:  # it knows time zones, and most programs need none
    from .digest import Digest
    from .throttle import Throttle

#: An event type is words joined by full stops (Standard Webhooks 1.0.0, "Event types").
TYPE_GRAMMAR = r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*"
#: The topic of operational events: only subscriptions that name their first word get them, a bare ``**`` does not.
#: Their actor is the person whom they are about, if there is one: an erasure takes what they say of that person.
OPERATIONAL: Final = "!"


@attrs.frozen
class Resource:
    """What an event is about: ``Resource("order", "A-1")``."""

    kind: str
    id: str


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened, ready to be published.

    Only ``type`` and ``data`` are needed; ``tenant`` may also be given to
    ``publish``.  Typed events (see :func:`notifykit.event`) are turned into this.

    Attributes:
        type: Words joined by full stops, such as ``order.shipped``.
        data: The payload: JSON types only.
        tenant: The business whose data this is.
        occurred_at: When it happened, with a zone; the time of publishing if not given.
        topic: A path, such as ``shop/7/order/A-1``, that subscriptions can match.
        resource: What the event is about.
        actor: The user or program that caused it.
        metadata: Short texts that travel with the event but are not part of the body.
        idempotency_key: Publishing again with the same key does nothing and returns the first receipt.
        trace: A W3C ``traceparent``; webhooks carry it as a header.
        deliver_at: Not before this time.
        delay: Not before so long after it is published; in place of ``deliver_at``.
        expires_at: Not after this time.
        priority: ``high``, ``normal`` or ``low``.
        ordering_key: Events with the same key reach an endpoint in the order of publishing.
        version: The version of the type's payload.
        to: Ids of recipients who are told, subscribed or not: one or several, at most 1,000.
        channels: Tell people over these channels only, one or several: of the steps of the event's type those, or, if
            the type declares no steps, these.  Left out, it means those of the type.  What a person has refused stays
            refused.
    """

    type: str
    data: Mapping[str, Any]
    tenant: str | None = None
    occurred_at: datetime | None = None
    topic: str | None = None
    resource: Resource | None = None
    actor: str | None = None
    metadata: Mapping[str, str] = attrs.field(factory=dict)
    idempotency_key: str | None = None
    trace: str | None = None
    deliver_at: datetime | None = None
    delay: timedelta | None = None
    expires_at: datetime | None = None
    priority: Priority | None = None
    ordering_key: str | None = None
    version: int = 1
    to: Iterable[str] | str = ()
    channels: Iterable[str] | str = ()


def _as_steps(steps: Iterable[Step]) -> Any:
    return listed(steps, MAX_STEPS)


#: Of types that declare none.
DEFAULT_CATEGORY = "general"


@attrs.frozen(kw_only=True)
class EventType:
    """What is known about a type of event.

    Attributes:
        name: The type's name, ``order.shipped``.
        payload: The attrs class of ``data``; ``None`` for untyped events.
        schema: A JSON Schema that ``data`` must satisfy.
        version: The payload version that is published now.
        upcasts: From version *n* to the data of version *n + 1*.
        category: The group of types that a recipient's preferences name.
        purpose: ``transactional``, ``marketing`` or ``security``.
        priority: The lane of its deliveries unless the event says otherwise.
        description: One sentence, for the list of types that can be subscribed.
        steps: Over which channels people are told, in this order; by default in-app, then by e-mail.
        tells_actor: Whether the event's ``actor`` is told as well.
        expires_after: How long after it is due an event is of use, unless it says so itself.
        digest: How people get its events together in one message, if they do.
        throttle: How many of its notifications a person gets in a time, if that is limited.
    """

    name: str
    payload: type[Any] | None = None
    schema: Mapping[str, Any] | None = None
    version: int = 1
    upcasts: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = attrs.field(factory=dict)
    category: str = DEFAULT_CATEGORY
    purpose: str = "transactional"
    priority: Priority = Priority.NORMAL
    description: str = ""
    steps: tuple[Step, ...] = attrs.field(default=(), converter=_as_steps)
    tells_actor: bool = False
    expires_after: timedelta | None = None
    digest: Digest | None = None
    throttle: Throttle | None = None


class StoredEvent(NamedTuple):
    """An event as the store keeps it: checked, with its id, and serialised once.

    Attributes:
        due_at: When it may be planned: the time of publishing, or later as ``deliver_at`` or ``delay`` say.
        body: The exact bytes that every receiver of this event gets.
        fingerprint: A digest of the content, kept with ``idempotency_key``.
        metadata: JSON text.
        category: Of the type, as the publisher declared it; ``None`` if it did not, as for ``purpose``.
        audience: JSON text: the recipients that the event is addressed to; ``None`` if it names none.
    """

    id: str
    tenant: str
    type: str
    version: int
    topic: str | None
    resource_kind: str | None
    resource_id: str | None
    actor: str | None
    occurred_at: datetime
    published_at: datetime
    due_at: datetime
    expires_at: datetime | None
    priority: Priority
    ordering_key: str | None
    idempotency_key: str | None
    fingerprint: bytes | None
    trace: str | None
    metadata: str | None
    body: bytes
    category: str | None = None
    purpose: str | None = None
    audience: str | None = None

    @property
    def details(self) -> EventDetails:
        """What the event says of itself beside its body."""
        return EventDetails(
            self.resource_kind,
            self.resource_id,
            self.actor,
            self.metadata,
            self.category,
            self.purpose,
            self.topic,
            self.trace,
        )


class TakenEvent(NamedTuple):
    """A planner's time-limited, fenced right to plan one event.

    Attributes:
        fence: Grows with every take; only the current one may settle.
        cursor: Where a fan-out in pages goes on; ``None`` at the start.
        tenant_version: The tenant's version when the event was taken (see ``TenantConfig``).
        details: What the event says of itself beside its body.
        audience: As in :class:`StoredEvent`.
    """

    id: str
    fence: int
    tenant: str
    type: str
    topic: str | None
    priority: Priority
    ordering_key: str | None
    published_at: datetime
    expires_at: datetime | None
    body: bytes
    cursor: str | None
    tenant_version: int
    details: EventDetails = NO_DETAILS
    audience: str | None = None


@attrs.frozen(kw_only=True)
class Receipt:
    """The answer to ``publish``.

    Attributes:
        event_id: The stored event's id; receivers see it as ``webhook-id``.
        duplicate: Whether an earlier publish with the same idempotency key stored it.
    """

    event_id: str
    duplicate: bool = False
