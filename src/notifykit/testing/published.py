"""What an outbox shows: events, deliveries, and which of them a test means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

import attrs

from ..catalog import event_type_of
from ..codec import dumps, loads, unstructure
from ..errors import InvalidEventError
from ..models.delivery import Delivery, DeliveryState
from ..models.endpoint import Endpoint
from ..models.event import Event, Resource, StoredEvent
from .recording import SentMessage, SentRequest


@attrs.frozen(kw_only=True)
class PublishedEvent(Event):
    """An event that was published.

    Attributes:
        id: Its id; receivers see it as ``webhook-id``.
        published_at: When, by the outbox's clock.
    """

    id: str
    published_at: datetime


@attrs.frozen(kw_only=True)
class OutboxDelivery:
    """A delivery of which at least one attempt was made, to an endpoint or to a person.

    Attributes:
        delivery: Its current state.
        event: What was delivered; of a digest the event that opened it.
        sent: Its attempts, oldest first.
    """

    delivery: Delivery
    event: PublishedEvent
    sent: tuple[SentRequest | SentMessage, ...]

    @property
    def id(self) -> str:
        """The delivery's id."""
        return self.delivery.id

    @property
    def type(self) -> str:
        """The event's type."""
        return self.event.type

    @property
    def tenant(self) -> str:
        """The tenant that the event belongs to."""
        return self.delivery.tenant

    @property
    def state(self) -> DeliveryState:
        """The current state of the delivery."""
        return self.delivery.state

    @property
    def channel(self) -> str:
        """The name of the channel, such as ``email``."""
        return self.delivery.channel

    @property
    def attempts(self) -> int:
        """How many attempts were made."""
        return len(self.sent)

    # -- to an endpoint --------------------------------------------------------------------------

    @property
    def requests(self) -> tuple[SentRequest, ...]:
        """The attempts at the endpoint, oldest first."""
        return tuple(each for each in self.sent if isinstance(each, SentRequest))

    @property
    def endpoint(self) -> Endpoint:
        """Where to, as it was at the last attempt."""
        return self._request.endpoint

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the last attempt, signature included."""
        return self._request.headers

    @property
    def body(self) -> bytes:
        """The exact bytes that every attempt sent."""
        return self._request.body

    def json(self) -> Any:
        """Return the body, parsed."""
        return self._request.json()

    @property
    def _request(self) -> SentRequest:
        last = self.sent[-1]
        assert isinstance(last, SentRequest), f"{self} went to a person: see its message"
        return last

    # -- to a person -----------------------------------------------------------------------------

    @property
    def message(self) -> Any:
        """What the person reads, as it was rendered for the last attempt: see :mod:`notifykit.models.messages`."""
        return self._message.message

    @property
    def recipient(self) -> str:
        """The host's own id of the person."""
        return self._message.recipient

    @property
    def address(self) -> str:
        """What the message was sent to; in-app it is the person's id."""
        return self._message.address

    @property
    def _message(self) -> SentMessage:
        last = self.sent[-1]
        assert isinstance(last, SentMessage), f"{self} went to an endpoint: see its body and headers"
        return last

    def is_to(self, target: Target) -> bool:
        """Return whether it went there."""
        if target.channel not in (None, self.channel):
            return False
        match self.sent[-1]:
            case SentRequest(endpoint=endpoint):
                return target.to is None and target.endpoint in (None, endpoint.id, endpoint.url)
            case SentMessage(recipient=recipient, address=address):
                return target.endpoint is None and target.to in (None, recipient, address)

    def __str__(self) -> str:
        last = self.sent[-1]
        where = last.endpoint.url if isinstance(last, SentRequest) else f"{last.recipient} by {last.channel}"
        return f"{self.type} to {where} ({self.state.value})"


@attrs.frozen(kw_only=True)
class Target:
    """Which deliveries are meant; what is ``None`` does not restrict.

    Attributes:
        endpoint: The id or the URL of an endpoint.
        to: A person's id or address.
    """

    endpoint: str | None = None
    to: str | None = None
    channel: str | None = None

    def __str__(self) -> str:
        parts = {"at": self.endpoint, "to": self.to, "by": self.channel}
        return "".join(f" {word} {value}" for word, value in parts.items() if value is not None)


def published(stored: StoredEvent) -> PublishedEvent:
    """Return an event as it was published."""
    resource = None
    if stored.resource_kind is not None and stored.resource_id is not None:
        resource = Resource(stored.resource_kind, stored.resource_id)
    return PublishedEvent(
        id=stored.id,
        type=stored.type,
        data=json.loads(stored.body)["data"],
        tenant=stored.tenant,
        occurred_at=stored.occurred_at,
        published_at=stored.published_at,
        topic=stored.topic,
        resource=resource,
        actor=stored.actor,
        metadata=json.loads(stored.metadata or "{}"),
        idempotency_key=stored.idempotency_key,
        trace=stored.trace,
        deliver_at=stored.due_at if stored.due_at > stored.published_at else None,
        expires_at=stored.expires_at,
        priority=stored.priority,
        ordering_key=stored.ordering_key,
        version=stored.version,
    )


@attrs.frozen
class Wanted:
    """Which events are meant."""

    tenant: str | None
    type: str | None
    data: Any

    @classmethod
    def of(cls, kind: object, tenant: str | None) -> Self:
        if kind is None or isinstance(kind, str):
            return cls(tenant, kind, None)
        payload = kind if isinstance(kind, type) else type(kind)
        declared = event_type_of(payload)
        if declared is None:
            raise InvalidEventError([f"event: {payload.__name__} was not declared with @event"])
        data = None if isinstance(kind, type) else loads(dumps(unstructure(kind)))
        return cls(tenant, declared.name, data)

    def matches(self, event: PublishedEvent) -> bool:
        return (
            self.tenant in (None, event.tenant)
            and self.type in (None, event.type)
            and (self.data is None or self.data == event.data)
        )

    def __str__(self) -> str:
        text = self.type or "any event"
        if self.data is not None:
            text += f" {self.data}"
        return text if self.tenant is None else f"{text} of tenant {self.tenant}"
