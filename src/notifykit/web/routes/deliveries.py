"""Deliveries and their attempts, and sending again what did not arrive."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs

from ...errors import InvalidInputError
from ...models.access import AccessScope
from ...models.checks import MAX_ID, identifier, optional
from ...models.delivery import Attempt, Delivery, DeliveryState, Priority
from ...models.ids import DELIVERY
from ...ports import DeliveryFilter
from ..live.activity import ENTRY_ID
from ..live.feeds import ActivityFeed
from ..live.stream import EventStream
from ..route import Call, PageOf, PageQuery, Routes, cursor_of, described, page_of

ROUTES = Routes("Deliveries")
_id = optional(identifier)
_ID = {"maxLength": MAX_ID}


def _entry_id(value: object) -> str | None:
    """Check the id of a message of the stream."""
    return None if isinstance(value, str) and ENTRY_ID.fullmatch(value) else "must be the id of an event of this stream"


@attrs.frozen(kw_only=True)
class DeliveryView:
    """An event on its way to one subscriber over one channel.

    Attributes:
        subscriber_id: The endpoint or the recipient.
        reason: Why it is held, or ended otherwise than delivered.
        attempts: How many have been made.
        generation: How often it has been sent again.
        due_at: When the next attempt may start.
    """

    id: str
    event_id: str
    event_type: str
    subscription_id: str
    subscriber_id: str
    channel: str
    priority: Priority
    state: DeliveryState
    reason: str | None
    attempts: int
    generation: int
    created_at: datetime
    due_at: datetime | None
    expires_at: datetime | None
    finished_at: datetime | None
    address: str | None
    digest: str | None

    @classmethod
    def of(cls, delivery: Delivery) -> DeliveryView:
        """Return what is shown of a delivery."""
        return cls(**{field.name: getattr(delivery, field.name) for field in attrs.fields(cls)})


@attrs.frozen(kw_only=True)
class AttemptView:
    """One try and its outcome.

    Attributes:
        number: 1, 2, 3 … over all generations.
        took: Seconds from its start to its end.
        outcome: ``accepted``, ``transient`` …
        status: The HTTP status, if there was an answer.
        retry_at: When the next attempt was planned for.
        response: The beginning of the answer.
        reference: The provider's id of the message.
    """

    number: int
    started_at: datetime
    took: timedelta
    outcome: str
    reason: str | None
    status: int | None
    retry_at: datetime | None
    response: str
    reference: str | None

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptView:
        """Return what is shown of an attempt."""
        shown = {field.name: getattr(attempt, field.name) for field in attrs.fields(cls)}
        return cls(**{**shown, "response": attempt.response.decode(errors="replace")})


@attrs.frozen(kw_only=True)
class DeliveriesQuery(PageQuery):
    """Which deliveries.

    Attributes:
        state: In one of these states, separated by commas.
        subscriber_id: To this endpoint or recipient.
        event_id: Of this event.
        event_type: Of events of this type.
        since: Created at or after this time.
        until: Created before this time.
        limit: How many at the most.
        cursor: The ``next`` of the page before.
    """

    state: tuple[DeliveryState, ...] | None = None
    subscriber_id: str | None = described(_id, default=None, **_ID)
    event_id: str | None = described(_id, default=None, **_ID)
    event_type: str | None = described(_id, default=None, **_ID)
    since: datetime | None = None
    until: datetime | None = None
    cursor: str | None = cursor_of(DELIVERY)


@ROUTES.add("GET", "/v1/deliveries", AccessScope.DELIVERIES_READ, query=DeliveriesQuery, answer=PageOf(DeliveryView))
async def list_deliveries(call: Call) -> Any:
    """List deliveries, newest first."""
    query: DeliveriesQuery = call.query
    wanted = DeliveryFilter(
        states=query.state,
        subscriber_id=query.subscriber_id,
        event_id=query.event_id,
        event_type=query.event_type,
        since=query.since,
        until=query.until,
    )
    found = await call.kit.deliveries.list(wanted, tenant=call.tenant, limit=query.limit + 1, before=query.cursor)
    return page_of(found, query.limit, DeliveryView.of)


@attrs.frozen(kw_only=True)
class ActivityQuery:
    """Since when.

    Attributes:
        cursor: The id of the last message; by default from now on.
    """

    cursor: str | None = described(optional(_entry_id), default=None, pattern=f"^{ENTRY_ID.pattern}$")


@attrs.frozen(kw_only=True)
class ActivityView:
    """Something that has happened to a delivery.

    Attributes:
        attempt: The attempt that was made; ``null`` where the delivery is new or changed its state without one.
    """

    delivery: DeliveryView
    attempt: AttemptView | None


@ROUTES.add(
    "GET",
    "/v1/deliveries/stream",
    AccessScope.DELIVERIES_READ,
    query=ActivityQuery,
    answer=ActivityView,
    media_type="text/event-stream",
)
async def stream_deliveries(call: Call) -> Any:
    """Follow what happens to deliveries, within a second.

    Server-sent events, or the same as JSON messages over a WebSocket at the same address. Each event ``activity`` has a
    delivery and the attempt that was made as ``data``. The event ``reset`` comes first, and where something may have
    been missed: list the deliveries again then. A client that reconnects sends the ``id`` of the last event as
    ``Last-Event-ID`` (or as ``cursor``).
    """
    last = call.request.headers.get("last-event-id", call.query.cursor)
    if last is not None and _entry_id(last):
        raise InvalidInputError(["header.Last-Event-ID: must be the id of an event of this stream"])
    return EventStream(ActivityFeed(call.live.activity, call.tenant, last))


@ROUTES.add("GET", "/v1/deliveries/{delivery_id}", AccessScope.DELIVERIES_READ, answer=DeliveryView)
async def get_delivery(call: Call) -> Any:
    """Return a delivery."""
    return DeliveryView.of(await call.kit.deliveries.get(call.path["delivery_id"], tenant=call.tenant))


@ROUTES.add("GET", "/v1/deliveries/{delivery_id}/attempts", AccessScope.DELIVERIES_READ, answer=tuple[AttemptView, ...])
async def list_attempts(call: Call) -> Any:
    """List the attempts of a delivery, in order."""
    found = await call.kit.deliveries.attempts(call.path["delivery_id"], tenant=call.tenant)
    return tuple(map(AttemptView.of, found))


@ROUTES.add(
    "POST", "/v1/deliveries/{delivery_id}/resend", AccessScope.DELIVERIES_WRITE, answer=DeliveryView, status=202
)
async def resend_delivery(call: Call) -> Any:
    """Send an ended delivery again: the same id and the same bytes."""
    await call.kit.deliveries.redrive(call.path["delivery_id"], tenant=call.tenant)
    return await get_delivery(call)


@ROUTES.add("POST", "/v1/deliveries/{delivery_id}/cancel", AccessScope.DELIVERIES_WRITE, answer=DeliveryView)
async def cancel_delivery(call: Call) -> Any:
    """Cancel a delivery that waits."""
    await call.kit.deliveries.cancel(call.path["delivery_id"], tenant=call.tenant)
    return await get_delivery(call)


@attrs.frozen(kw_only=True)
class DeadLettersQuery(PageQuery):
    """Which page of dead letters.

    Attributes:
        limit: How many at the most.
        cursor: The ``next`` of the page before.
    """

    cursor: str | None = cursor_of(DELIVERY)


@ROUTES.add("GET", "/v1/dead-letters", AccessScope.DELIVERIES_READ, query=DeadLettersQuery, answer=PageOf(DeliveryView))
async def list_dead_letters(call: Call) -> Any:
    """List deliveries that were given up, newest first."""
    query: DeadLettersQuery = call.query
    found = await call.kit.deliveries.dead(tenant=call.tenant, limit=query.limit + 1, before=query.cursor)
    return page_of(found, query.limit, DeliveryView.of)


@attrs.frozen(kw_only=True)
class Redrive:
    """Which dead letters are sent again; without any field all of them.

    Attributes:
        subscriber_id: To this endpoint or recipient.
        event_id: Of this event.
        event_type: Of events of this type.
        since: Created at or after this time.
        until: Created before this time.
    """

    subscriber_id: str | None = described(_id, default=None, **_ID)
    event_id: str | None = described(_id, default=None, **_ID)
    event_type: str | None = described(_id, default=None, **_ID)
    since: datetime | None = None
    until: datetime | None = None


@attrs.frozen(kw_only=True)
class Moved:
    """How many deliveries are sent again.

    Attributes:
        count: How many.
    """

    count: int


@ROUTES.add("POST", "/v1/dead-letters/redrive", AccessScope.DELIVERIES_WRITE, body=Redrive, answer=Moved, status=202)
async def redrive_dead_letters(call: Call) -> Any:
    """Send dead letters again."""
    asked: Redrive = call.body
    wanted = DeliveryFilter(**attrs.asdict(asked, recurse=False))
    return Moved(count=await call.kit.deliveries.redrive_all(wanted, tenant=call.tenant))
