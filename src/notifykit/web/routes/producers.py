"""What producers send: events, notifications for persons, and the simple shapes that people know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from ...errors import InvalidInputError
from ...models.access import AccessScope
from ...models.audience import MAX_CHANNELS, MAX_RECIPIENTS
from ...models.checks import MAX_ID, field_check, identifier, instance, many, mapping, optional, text
from ...models.delivery import Priority
from ...models.event import TYPE_GRAMMAR, Event, Receipt, Resource
from ...models.inbox import InboxItem
from ...models.preferences import OFF, ON, label
from ..route import Call, PageQuery, Routes, described

ROUTES = Routes("Publishing")
#: Events of one request.
MAX_EVENTS = 1000
_QUEUED = "queued"
_object = instance(Mapping)
_string = text(most=MAX_ID)
_recipients = many(_string, most=MAX_RECIPIENTS, what="ids of recipients")
_channels = many(label, most=MAX_CHANNELS, what="channels")
_TYPE = {"pattern": f"^{TYPE_GRAMMAR}$", "maxLength": 128}
_ID = {"minLength": 1, "maxLength": MAX_ID}
_LABEL = {"minLength": 1, "maxLength": 128}


@attrs.frozen(kw_only=True)
class About:
    """What an event is about.

    Attributes:
        kind: Such as ``order``.
        id: Of the thing.
    """

    kind: str = described(_string, **_ID)
    id: str = described(_string, **_ID)


@attrs.frozen(kw_only=True)
class NewEvent:
    """An event to publish: whoever is subscribed gets it, and the recipients that it names are told.

    Attributes:
        type: Words joined by full stops, such as ``order.shipped``.
        data: The payload.
        topic: A path, such as ``shop/7/order/A-1``, that subscriptions can match.
        resource: What the event is about.
        actor: The user or program that caused it.
        metadata: Short texts that travel with the event but are not part of the body.
        idempotency_key: Publishing again with the same key does nothing, and is answered in the same way.
        trace: A W3C ``traceparent``.
        occurred_at: When it happened; the time of publishing if not given.
        deliver_at: Not before this time.
        delay: Not before so many seconds after it is published; in place of ``deliver_at``.
        expires_at: Not after this time.
        priority: The lane of its deliveries.
        ordering_key: Events with the same key reach an endpoint in the order of publishing.
        version: The version of the type's payload.
        to: Ids of recipients who are told, subscribed or not.
        channels: Tell people over these channels only.
    """

    type: str = described(_string, **_TYPE)
    data: Mapping[str, Any] = described(_object)
    topic: str | None = described(optional(text(most=1024, empty=True)), default=None)
    resource: About | None = None
    actor: str | None = described(optional(identifier), default=None, maxLength=MAX_ID)
    metadata: Mapping[str, str] | None = described(
        optional(mapping(text(most=1024, empty=True), text(empty=True, lines=True), most=100)), default=None
    )
    idempotency_key: str | None = described(optional(_string), default=None, **_ID)
    trace: str | None = described(optional(_string), default=None, **_ID)
    occurred_at: datetime | None = None
    deliver_at: datetime | None = None
    delay: timedelta | None = None
    expires_at: datetime | None = None
    priority: Priority | None = None
    ordering_key: str | None = described(optional(_string), default=None, **_ID)
    version: int = 1
    to: tuple[str, ...] = described(_recipients, default=(), maxItems=MAX_RECIPIENTS)
    channels: tuple[str, ...] = described(_channels, default=(), maxItems=MAX_CHANNELS)

    def event(self, key: str | None) -> Event:
        """Return the event; ``key`` is the idempotency key of the request."""
        return Event(
            type=self.type,
            data=self.data,
            topic=self.topic,
            resource=None if self.resource is None else Resource(self.resource.kind, self.resource.id),
            actor=self.actor,
            metadata=self.metadata or {},
            idempotency_key=self.idempotency_key or key,
            trace=self.trace,
            occurred_at=self.occurred_at,
            deliver_at=self.deliver_at,
            delay=self.delay,
            expires_at=self.expires_at,
            priority=self.priority,
            ordering_key=self.ordering_key,
            version=self.version,
            to=self.to,
            channels=self.channels,
        )


@attrs.frozen(kw_only=True)
class PublishedEvent:
    """An event that is stored, and will be delivered.

    Attributes:
        event_id: Receivers of webhooks see it as ``webhook-id``.
        duplicate: Whether an earlier request with the same idempotency key stored it.
    """

    event_id: str
    duplicate: bool = False


def _published(receipt: Receipt) -> PublishedEvent:
    return PublishedEvent(event_id=receipt.event_id, duplicate=receipt.duplicate)


@ROUTES.add(
    "POST",
    "/v1/events",
    AccessScope.EVENTS_WRITE,
    body=NewEvent | tuple[NewEvent, ...],
    answer=PublishedEvent | tuple[PublishedEvent, ...],
    status=202,
    is_idempotent=True,
)
async def publish_events(call: Call) -> Any:
    """Publish one event, or a list of up to 1,000.

    The answer comes when they are stored, before anything is delivered.  Of a list all are checked first; if one is
    not acceptable, none is stored.  With ``Idempotency-Key`` each event of a list gets a key made of it and its place.
    That a key belongs to other content is only known afterwards: then the others are stored, and the problem
    (409, ``idempotency_conflict``) says in ``events`` what was done with each.
    """
    key = _key(call)
    if not isinstance(call.body, tuple):
        event = call.body.event(key)
        (typed,) = await call.types.typed([event])
        return _published(await call.kit.apublish(typed, tenant=call.tenant))
    if len(call.body) > MAX_EVENTS:
        raise InvalidInputError([f"at most {MAX_EVENTS} events at a time, got {len(call.body)}"])
    events = [each.event(None if key is None else f"{key}:{at}") for at, each in enumerate(call.body)]
    typed = await call.types.typed(events, many=True)
    return tuple(map(_published, await call.kit.apublish_many(typed, tenant=call.tenant)))


@attrs.frozen(kw_only=True)
class NewNotification:
    """Something that a person is to be told.

    Attributes:
        user_id: Your own id of the person.
        type: The type of event: it says over which channels, and which template.
        payload: What the template needs.
        channels: Only over these channels.
    """

    user_id: str = described(_string, **_ID)
    type: str = described(_string, **_TYPE)
    payload: Mapping[str, Any] = described(_object, default=attrs.Factory(dict))
    channels: tuple[str, ...] = described(_channels, default=(), maxItems=MAX_CHANNELS)


@attrs.frozen(kw_only=True)
class QueuedNotification:
    """A notification that is stored, and will be sent.

    Attributes:
        notification_id: The id of the event.
        status: Always ``queued``.
    """

    notification_id: str
    status: str = _QUEUED


@ROUTES.add(
    "POST",
    "/v1/notifications",
    AccessScope.EVENTS_WRITE,
    body=NewNotification,
    answer=QueuedNotification,
    status=202,
    is_idempotent=True,
)
async def notify_person(call: Call) -> Any:
    """Tell a person something, over the channels that they want."""
    asked: NewNotification = call.body
    return await _queue(call, asked.type, asked.payload, [asked.user_id], asked.channels)


@attrs.frozen(kw_only=True)
class NewMessage:
    """A message for one or several persons.

    Attributes:
        recipients: Your own ids of the persons: one, or a list.
        template: The type of event: its templates make the message.
        channel: Only over this channel.
        data: What the template needs.
    """

    recipients: str | tuple[str, ...]
    template: str = described(_string, **_TYPE)
    channel: str | None = described(optional(label), default=None, **_LABEL)
    data: Mapping[str, Any] = described(_object, default=attrs.Factory(dict))


@ROUTES.add(
    "POST",
    "/v1/send",
    AccessScope.EVENTS_WRITE,
    body=NewMessage,
    answer=QueuedNotification,
    status=202,
    is_idempotent=True,
)
async def send_message(call: Call) -> Any:
    """Send a message made of a template to one or several persons."""
    asked: NewMessage = call.body
    to = [asked.recipients] if isinstance(asked.recipients, str) else list(asked.recipients)
    if not to:
        raise InvalidInputError(["recipients: is empty"])
    return await _queue(call, asked.template, asked.data, to, [asked.channel] if asked.channel else ())


@attrs.frozen(kw_only=True)
class SimpleNotification:
    """The shape of ``POST /notify``.

    Attributes:
        userId: Your own id of the person.
        type: The channel, such as ``email``, ``sms``, ``push`` or ``in_app``.
        template: The type of event: its templates make the message.
        data: What the template needs.
    """

    userId: str = described(_string, **_ID)  # noqa: N815 - the name that this shape is known for
    type: str | None = described(optional(label), default=None, **_LABEL)
    template: str = described(_string, **_TYPE)
    data: Mapping[str, Any] = described(_object, default=attrs.Factory(dict))


@ROUTES.add(
    "POST",
    "/notify",
    AccessScope.EVENTS_WRITE,
    body=SimpleNotification,
    answer=QueuedNotification,
    status=202,
    is_idempotent=True,
)
async def notify(call: Call) -> Any:
    """Tell a person something: a simple shape, for programs that have it already."""
    asked: SimpleNotification = call.body
    return await _queue(call, asked.template, asked.data, [asked.userId], [asked.type] if asked.type else ())


@attrs.frozen(kw_only=True)
class SendNotification:
    """The shape of ``POST /send_notification``.

    Attributes:
        user_id: Your own id of the person.
        type: The type of event.
        channels: Only over these channels.
        message: A text, which templates find as ``message``.
        data: What else the template needs.
    """

    user_id: str = described(_string, **_ID)
    type: str = described(_string, **_TYPE)
    channels: tuple[str, ...] = described(_channels, default=(), maxItems=MAX_CHANNELS)
    message: str | None = described(optional(text(most=10_000, empty=True, lines=True)), default=None, maxLength=10_000)
    data: Mapping[str, Any] = described(_object, default=attrs.Factory(dict))


@ROUTES.add(
    "POST",
    "/send_notification",
    AccessScope.EVENTS_WRITE,
    body=SendNotification,
    answer=QueuedNotification,
    status=202,
    is_idempotent=True,
)
async def send_notification(call: Call) -> Any:
    """Tell a person something: another simple shape."""
    asked: SendNotification = call.body
    data = asked.data if asked.message is None else {**asked.data, "message": asked.message}
    return await _queue(call, asked.type, data, [asked.user_id], asked.channels)


@attrs.frozen(kw_only=True)
class NotificationsQuery(PageQuery):
    """Whose notifications, and which page.

    Attributes:
        user_id: Your own id of the person.
        limit: How many at the most.
        cursor: The ``next`` of the page before.
    """

    user_id: str = described(_string, **_ID)


@attrs.frozen(kw_only=True)
class Notification:
    """A notification in a person's inbox.

    Attributes:
        notification_id: The id of the inbox item.
        type: The type of event.
        message: What the item says.
        read: Whether the person has read it.
    """

    notification_id: str
    user_id: str
    type: str
    title: str
    message: str
    read: bool
    created_at: datetime


def _notification(item: InboxItem) -> Notification:
    return Notification(
        notification_id=item.id,
        user_id=item.recipient,
        type=item.event_type,
        title=item.title,
        message=item.body,
        read=item.marks.read_at is not None,
        created_at=item.created_at,
    )


@ROUTES.add(
    "GET",
    "/notifications",
    AccessScope.INBOX_READ,
    query=NotificationsQuery,
    answer=tuple[Notification, ...],
    person_field="user_id",
)
async def list_notifications(call: Call) -> Any:
    """List a person's notifications, newest first: the simple shape of an inbox.

    ``cursor`` is not needed for the newest; ``GET /v1/inbox/{user_id}`` has everything else.
    """
    query: NotificationsQuery = call.query
    if query.cursor is not None and not (
        query.cursor.isascii() and query.cursor.isdecimal() and len(query.cursor) < 19
    ):
        raise InvalidInputError(["query.cursor: must be the next of the page before"])
    after = None if query.cursor is None else int(query.cursor)
    page = await call.kit.inbox(query.user_id, tenant=call.tenant).page(limit=query.limit, after=after)
    return tuple(map(_notification, page.items))


@attrs.frozen(kw_only=True)
class PreferenceUpdate:
    """The shape of ``POST /update_notification_preferences``.

    Attributes:
        user_id: Your own id of the person.
        preferences: Whether each channel is on.
    """

    user_id: str = described(_string, **_ID)
    preferences: Mapping[str, bool] = attrs.field(
        validator=field_check(mapping(label, instance(bool), most=100)), metadata={"schema": {"maxProperties": 100}}
    )


@attrs.frozen(kw_only=True)
class PreferencesUpdated:
    """What a person wants is stored.

    Attributes:
        status: Always ``updated``.
    """

    status: str = "updated"


@ROUTES.add(
    "POST",
    "/update_notification_preferences",
    AccessScope.PREFERENCES_WRITE,
    body=PreferenceUpdate,
    answer=PreferencesUpdated,
    person_field="user_id",
)
async def update_notification_preferences(call: Call) -> Any:
    """Turn channels on or off for a person: the simple shape of preferences."""
    asked: PreferenceUpdate = call.body
    preferences = call.kit.preferences(asked.user_id, tenant=call.tenant)
    await call.kit.recipients.get(asked.user_id, tenant=call.tenant)
    for channel, is_on in asked.preferences.items():
        await preferences.set(channel=channel, value=ON if is_on else OFF)
    return PreferencesUpdated()


async def _queue(
    call: Call, type_: str, data: Mapping[str, Any], to: Sequence[str], channels: Sequence[str]
) -> QueuedNotification:
    event = Event(type=type_, data=data, to=tuple(to), channels=tuple(channels), idempotency_key=_key(call))
    (typed,) = await call.types.typed([event])
    receipt = await call.kit.apublish(typed, tenant=call.tenant)
    return QueuedNotification(notification_id=receipt.event_id)


def _key(call: Call) -> str | None:
    """Return the idempotency key of a request.

    Raises:
        InvalidInputError: It is too long or has control characters.
    """
    key = call.request.headers.get("idempotency-key")
    if key is not None and (wrong := text(most=200)(key)) is not None:
        raise InvalidInputError([f"header.Idempotency-Key: {wrong}"])
    return key
