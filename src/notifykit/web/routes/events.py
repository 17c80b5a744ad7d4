"""Published events, why they went where they went, and the types of events that are known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from ...changes import change
from ...codec import loads
from ...errors import InvalidInputError, NotFoundError, StateError
from ...models.access import AccessScope
from ...models.audience import Audience
from ...models.checks import MAX_DESCRIPTION, MAX_ID, identifier, instance, optional, prose
from ...models.delivery import Priority
from ...models.event import StoredEvent
from ...models.event_type import ALL_TENANTS, StoredEventType
from ...models.ids import EVENT
from ...models.preferences import Purpose, label, type_name
from ...models.steps import MAX_STEPS, Step, Unless, people_channel
from ..route import Call, PageOf, PageQuery, Routes, cursor_of, described, page_of
from ..types import require_sound
from .deliveries import DeliveryView

ROUTES = Routes("Events")


@attrs.frozen(kw_only=True)
class EventView:
    """A published event.

    Attributes:
        data: The payload.
        to: The recipients that it names.
        due_at: When it is planned at the earliest.
    """

    id: str
    type: str
    version: int
    data: Any
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
    to: tuple[str, ...]

    @classmethod
    def of(cls, event: StoredEvent) -> EventView:
        """Return what is shown of an event."""
        names = {field.name for field in attrs.fields(cls)} - {"data", "to"}
        shown = {name: getattr(event, name) for name in names}
        return cls(data=loads(event.body)["data"], to=Audience.from_json(event.audience).to, **shown)


@attrs.frozen(kw_only=True)
class EventsQuery(PageQuery):
    """Which events.

    Attributes:
        type: Of this type.
        limit: How many at the most.
        cursor: The ``next`` of the page before.
    """

    type: str | None = described(optional(identifier), default=None, maxLength=MAX_ID)
    cursor: str | None = cursor_of(EVENT)


@ROUTES.add("GET", "/v1/events", AccessScope.EVENTS_READ, query=EventsQuery, answer=PageOf(EventView))
async def list_events(call: Call) -> Any:
    """List events, newest first."""
    query: EventsQuery = call.query
    found = await call.kit.events.list(tenant=call.tenant, type=query.type, limit=query.limit + 1, before=query.cursor)
    return page_of(found, query.limit, EventView.of)


@ROUTES.add("GET", "/v1/events/{event_id}", AccessScope.EVENTS_READ, answer=EventView)
async def get_event(call: Call) -> Any:
    """Return an event."""
    return EventView.of(await call.kit.events.get(call.path["event_id"], tenant=call.tenant))


@attrs.frozen(kw_only=True)
class VerdictView:
    """What a subscription says to an event.

    Attributes:
        code: ``matched``, or why it does not match.
    """

    subscription_id: str
    subscriber_id: str
    code: str


@attrs.frozen(kw_only=True)
class EventExplanation:
    """Why an event went where it went.

    Attributes:
        planned: Whether it has been planned yet.
        deliveries: What planning made of it.
        verdicts: What each subscription says to it now.
    """

    event_id: str
    planned: bool
    deliveries: tuple[DeliveryView, ...]
    verdicts: tuple[VerdictView, ...]


@attrs.frozen(kw_only=True)
class ExplainQuery:
    """What is explained.

    Attributes:
        subscriber_id: Only what concerns this endpoint or recipient.
    """

    subscriber_id: str | None = described(optional(identifier), default=None, maxLength=MAX_ID)


@ROUTES.add(
    "GET", "/v1/events/{event_id}/explain", AccessScope.EVENTS_READ, query=ExplainQuery, answer=EventExplanation
)
async def explain_event(call: Call) -> Any:
    """Explain which endpoints got an event, which did not, and why."""
    found = await call.kit.events.explain(
        call.path["event_id"], tenant=call.tenant, subscriber_id=call.query.subscriber_id
    )
    return EventExplanation(
        event_id=found.event.id,
        planned=found.planned,
        deliveries=tuple(map(DeliveryView.of, found.deliveries)),
        verdicts=tuple(
            VerdictView(subscription_id=wish.id, subscriber_id=wish.subscriber_id, code=str(code))
            for wish, code in found.verdicts
        ),
    )


@attrs.frozen(kw_only=True)
class StepView:
    """A channel over which people are told.

    Attributes:
        after: How many seconds after the event.
        unless: It is not sent if the person has done this with the inbox item by then.
        fallback: It is only sent if no step before it arrives.
    """

    channel: str
    after: float
    unless: tuple[str, ...]
    fallback: bool


@attrs.frozen(kw_only=True)
class EventTypeView:
    """A type of event.

    Attributes:
        category: The group of types that people's preferences name.
        purpose: ``transactional``, ``marketing`` or ``security``.
        schema: The JSON Schema of the payload, if one is declared.
        steps: Over which channels people are told; none at all for the default.
    """

    name: str
    category: str
    purpose: str
    priority: Priority
    description: str
    schema: Mapping[str, Any] | None
    steps: tuple[StepView, ...]

    @classmethod
    def of(cls, known: StoredEventType) -> EventTypeView:
        """Return what is shown of a type."""
        return cls(
            name=known.name,
            category=known.category,
            purpose=str(known.purpose),
            priority=known.priority,
            description=known.description,
            schema=known.schema,
            steps=tuple(
                StepView(
                    channel=step.channel,
                    after=step.after.total_seconds(),
                    unless=tuple(sorted(step.unless)),
                    fallback=step.fallback,
                )
                for step in known.steps
            ),
        )


@ROUTES.add("GET", "/v1/event-types", AccessScope.EVENTS_READ, query=PageQuery, answer=PageOf(EventTypeView))
async def list_event_types(call: Call) -> Any:
    """List the types of events that programs have declared, by name."""
    query: PageQuery = call.query
    found = await call.kit.store.page(StoredEventType, ALL_TENANTS, limit=query.limit + 1, after=query.cursor)
    return page_of(found, query.limit, EventTypeView.of)


@ROUTES.add("GET", "/v1/event-types/{name}", AccessScope.EVENTS_READ, answer=EventTypeView)
async def get_event_type(call: Call) -> Any:
    """Return a type of event."""
    found = await call.kit.store.get(StoredEventType, ALL_TENANTS, [call.path["name"][:MAX_ID]])
    if not found:
        raise NotFoundError("event type", call.path["name"])
    return EventTypeView.of(found[0])


@attrs.frozen(kw_only=True)
class StepBody:
    """A channel over which people are told.

    Attributes:
        after: How many seconds after the event.
        unless: It is not sent if the person has ``seen`` or ``read`` the inbox item by then.
        fallback: It is only sent if no step before it arrives.
    """

    channel: str = described(people_channel, minLength=1, maxLength=128)
    after: timedelta = timedelta(0)
    unless: tuple[Unless, ...] = ()
    fallback: bool = False

    def step(self) -> Step:
        """Return the step."""
        return Step(self.channel, after=self.after, unless=frozenset(self.unless), fallback=self.fallback)


@attrs.frozen(kw_only=True)
class EventTypeBody:
    """A type of event that no program declares.

    Attributes:
        category: The group of types that people's preferences name.
        purpose: Which wishes of people apply.
        description: One sentence for people who subscribe.
        schema: The JSON Schema that the data of events must satisfy when they are published over this API.
        steps: Over which channels people are told; none at all for the default.
    """

    category: str = described(label, default="general", minLength=1, maxLength=128)
    purpose: Purpose = Purpose.TRANSACTIONAL
    priority: Priority = Priority.NORMAL
    description: str = described(prose, default="", maxLength=MAX_DESCRIPTION)
    schema: Mapping[str, Any] | None = described(optional(instance(Mapping)), default=None)
    steps: tuple[StepBody, ...] = attrs.field(default=(), metadata={"schema": {"maxItems": MAX_STEPS}})


def _require_undeclared(call: Call) -> str:
    name = call.path["name"]
    if wrong := type_name(name):
        raise InvalidInputError([f"name: {wrong}"])
    if name in call.kit.catalog:
        raise StateError(f"the server's program declares the event type {name!r}: change it there")
    return name


@ROUTES.add(
    "PUT",
    "/v1/event-types/{name}",
    AccessScope.SYSTEM_WRITE,
    body=EventTypeBody,
    answer=EventTypeView,
    is_system=True,
)
async def put_event_type(call: Call) -> Any:
    """Save a type of event, for all tenants; other processes know it within five seconds."""
    name, body = _require_undeclared(call), call.body
    wanted = StoredEventType(
        id=name,
        tenant=ALL_TENANTS,
        category=body.category,
        purpose=body.purpose.value,
        priority=body.priority,
        description=body.description,
        schema=body.schema,
        steps=tuple(step.step() for step in body.steps),
    )
    require_sound(wanted)

    async def read() -> StoredEventType | None:
        return next(iter(await call.kit.store.get(StoredEventType, ALL_TENANTS, [name])), None)

    async def save(changed: StoredEventType | None) -> StoredEventType | None:
        assert changed is not None
        return await call.kit.store.save(changed)

    saved = await change(read, lambda it: attrs.evolve(wanted, version=0 if it is None else it.version), save)
    call.types.forget(name)
    assert saved is not None
    return EventTypeView.of(saved)


@ROUTES.add("DELETE", "/v1/event-types/{name}", AccessScope.SYSTEM_WRITE, is_system=True)
async def delete_event_type(call: Call) -> None:
    """Remove a type of event; events of it can be published as before, without its schema and its steps."""
    name = _require_undeclared(call)
    if not await call.kit.store.remove(StoredEventType, ALL_TENANTS, name, now=call.kit.clock.now()):
        raise NotFoundError("event type", name)
    call.types.forget(name)
