"""What a program published and what came of it, for the program's own tests.

An :class:`Outbox` is a kit in memory with a clock that the test moves.  What is
planned, signed, sent and tried again goes through the library's own planner and
senders; only the socket is missing.  Nothing happens by itself: deliveries are made
by :meth:`Outbox.deliver` and :meth:`Outbox.advance`, in the same order each time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar, Unpack, cast

import attrs
from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..admin.endpoints import EndpointOptions
from ..catalog import event_type_of
from ..channels.webhook import Guard
from ..codec import dumps, loads, unstructure
from ..default import stand_in
from ..dispatch.runtime.dispatcher import Dispatcher
from ..dispatch.settings import DispatchSettings
from ..errors import InvalidEventError
from ..kit import EgressRules, KitOptions, Notifykit
from ..models.delivery import Delivery, DeliveryState
from ..models.endpoint import Endpoint
from ..models.event import Event, EventType, Receipt, Resource, StoredEvent
from ..models.outcome import Outcome
from ..ports import Channel, Store
from ..publisher import PublishOptions
from ..stores.sql.callers import AnyConnection, AnySession
from .clock import FakeClock
from .recording import RecordingChannel, SentRequest
from .shared_store import SharedStore

T = TypeVar("T")

_FOREVER = timedelta(days=36500)
#: What every name resolves to: a public address; nothing is ever sent to it.
_ADDRESS = "93.184.216.34"


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
    """A delivery of which at least one attempt was made.

    Attributes:
        delivery: Its current state.
        event: What was delivered.
        endpoint: Where to, as it was at the last attempt.
        requests: Its attempts, oldest first.
    """

    delivery: Delivery
    event: PublishedEvent
    endpoint: Endpoint
    requests: tuple[SentRequest, ...]

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
    def attempts(self) -> int:
        """How many attempts were made."""
        return len(self.requests)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the last attempt, signature included."""
        return self.requests[-1].headers

    @property
    def body(self) -> bytes:
        """The exact bytes that every attempt sent."""
        return self.requests[-1].body

    def json(self) -> Any:
        """Return the body, parsed."""
        return self.requests[-1].json()


class Outbox:
    """A kit for tests, and what was done with it.

    While it is open it replaces the default kit, so that ``notifykit.publish()`` stores events here.  It is
    for sync and async tests alike: :meth:`deliver` and :meth:`advance` may be
    called from either; :meth:`adeliver` and :meth:`aadvance` let the test's loop run meanwhile.

    Addresses are checked by the same rules as in production, but no name is ever looked up.

    Args:
        event_types: What the kit's catalog knows.
        egress: Rules to use instead of the default ones.
        start: Where the clock starts and stands; by default now.

    Attributes:
        kit: Hand it to programs that take a kit; its dispatchers do nothing, the test makes the deliveries.
        clock: Moved by :meth:`advance`.
    """

    kit: Notifykit
    clock: FakeClock

    def __init__(
        self,
        *,
        event_types: Iterable[type | EventType] = (),
        egress: EgressRules | None = None,
        start: datetime | None = None,
    ) -> None:
        self._event_types = tuple(event_types)
        self._egress = egress or EgressRules()
        self._start = start
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._portal: BlockingPortal = opening.enter_context(
                start_blocking_portal("asyncio", name="notifykit-outbox")
            )
            self.clock = FakeClock(self._start or datetime.now(UTC))
            self._shared = SharedStore(self._portal)
            store = cast("Store", self._shared)
            rules = self._egress
            egress = _OfflineEgress(allow=rules.allow, allow_names=rules.allow_names, allow_http=rules.allow_http)
            self.kit = _OutboxKit(self, store=store, event_types=self._event_types, egress=egress, clock=self.clock)
            opening.callback(self._shared.close)
            opening.callback(self.kit.close)
            self._home_kit = self.kit.twin()  # the kit whose calls run in the outbox's own loop
            self._channel = RecordingChannel(egress.guard())
            self._dispatcher = Dispatcher(
                self._shared.memory,  # so that the library's own events are not listed as the program's
                [self._channel],
                DispatchSettings(retention=_FOREVER),
                clock=self.clock,
                rng=lambda: 0.5,  # no jitter: every pause is exactly as long as the policy says
                declared=self.kit.catalog.get,
            )
            opening.enter_context(stand_in(self.kit))
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # -- arranging -------------------------------------------------------------------------------

    def subscribe(
        self,
        event_types: str | Iterable[str] = "**",
        *,
        tenant: str,
        endpoint: str = "https://receiver.example/hooks",
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
        **endpoint_options: Unpack[EndpointOptions],
    ) -> Endpoint:
        """Subscribe an endpoint, a URL or the id of one that exists; see :meth:`notifykit.Notifykit.subscribe`."""
        _, target = self._portal.call(
            lambda: self._home_kit.subscribe(
                event_types, tenant=tenant, endpoint=endpoint, topic=topic, filter=filter, **endpoint_options
            )
        )
        return target

    def fail_next(self, *outcomes: Outcome, endpoint: Endpoint | str | None = None) -> None:
        """Let the next attempts (at ``endpoint``) lead to ``outcomes``, one each; later ones succeed again."""
        endpoint_id = endpoint.id if isinstance(endpoint, Endpoint) else endpoint
        for outcome in outcomes:
            self._portal.call(self._channel.answer, outcome, endpoint_id)

    # -- delivering -----------------------------------------------------------------------

    def deliver(self) -> list[OutboxDelivery]:
        """Make every attempt that is due now; return the deliveries that were attempted."""
        return self.advance(timedelta(0))

    def advance(self, by: timedelta) -> list[OutboxDelivery]:
        """Let ``by`` pass and make every attempt at the moment when it becomes due.

        Returns:
            The deliveries that were attempted, each once.
        """
        self._shared.published()  # removes what was rolled back
        return self._portal.call(self._advance, by)

    async def adeliver(self) -> list[OutboxDelivery]:
        """Do the same as :meth:`deliver` while the caller's event loop keeps running."""
        return await self.aadvance(timedelta(0))

    async def aadvance(self, by: timedelta) -> list[OutboxDelivery]:
        """Do the same as :meth:`advance` while the caller's event loop keeps running."""
        self._shared.published()
        return await self.at_home(lambda _: self._advance(by))

    async def at_home(self, call: Callable[[Notifykit], Awaitable[T]]) -> T:
        """Make a call in the outbox's own loop, with the kit that is open there, and await it in the caller's."""
        return await asyncio.wrap_future(self._portal.start_task_soon(call, self._home_kit))

    async def _advance(self, by: timedelta) -> list[OutboxDelivery]:
        before = len(self._channel.requests)
        until = self.clock.now() + by
        await self._work()
        while (due := (await self._home_kit.store.next_due()).first) is not None and self.clock.now() < due <= until:
            self.clock.advance(due - self.clock.now())
            await self._work()
        self.clock.advance(until - self.clock.now())
        await self._work()
        return await self._deliveries(self._channel.requests[before:])

    async def _work(self) -> None:
        while await self._dispatcher.step():
            pass

    # -- looking ---------------------------------------------------------------------------------

    @property
    def events(self) -> list[PublishedEvent]:
        """Everything that the program published, in that order; nothing that was rolled back.

        Operational events that the library itself publishes, such as ``endpoint.failing``, are only among the
        deliveries.
        """
        return [_published(stored) for stored in self._shared.published()]

    @property
    def deliveries(self) -> list[OutboxDelivery]:
        """Every delivery of which an attempt was made, in the order of the first attempts."""
        return self._portal.call(self._deliveries, list(self._channel.requests))

    async def _deliveries(self, requests: Sequence[SentRequest]) -> list[OutboxDelivery]:
        found = []
        for delivery_id in dict.fromkeys(request.delivery_id for request in requests):
            attempts = tuple(request for request in self._channel.requests if request.delivery_id == delivery_id)
            endpoint = attempts[-1].endpoint
            delivery = await self._home_kit.deliveries.get(delivery_id, tenant=endpoint.tenant)
            stored = await self._home_kit.events.get(delivery.event_id, tenant=endpoint.tenant)
            found.append(
                OutboxDelivery(delivery=delivery, event=_published(stored), endpoint=endpoint, requests=attempts)
            )
        return found

    def one(
        self, kind: object = None, *, tenant: str | None = None, endpoint: Endpoint | str | None = None
    ) -> OutboxDelivery:
        """Return the only delivery that matches.

        Args:
            kind: An event type, a class declared with ``@event``, or an instance with exactly this data.
            endpoint: The endpoint, its id or its URL.

        Raises:
            AssertionError: None matches, or several do.
        """
        wanted = _Wanted.of(kind, tenant)
        where = endpoint.id if isinstance(endpoint, Endpoint) else endpoint
        found = [
            delivery
            for delivery in self.deliveries
            if wanted.matches(delivery.event) and where in (None, delivery.endpoint.id, delivery.endpoint.url)
        ]
        if len(found) != 1:
            raise AssertionError(f"expected one delivery of {wanted}, found {len(found)}; {self._report()}")
        return found[0]

    def assert_published(self, kind: object, *, tenant: str | None = None, **data: Any) -> PublishedEvent:
        """Return the first event that matches.

        Args:
            kind: An event type, a class declared with ``@event``, or an instance with exactly this data.
            data: Members of the event's data with their values.

        Raises:
            AssertionError: None matches.
        """
        wanted = _Wanted.of(kind, tenant)
        members = loads(dumps(data))  # as receivers see them: a datetime is text by now
        for event in self.events:
            if wanted.matches(event) and members.items() <= event.data.items():
                return event
        more = f" with {data}" if data else ""
        raise AssertionError(f"nothing published matches {wanted}{more}; {self._report()}")

    def assert_none(self, kind: object = None, *, tenant: str | None = None) -> None:
        """Check that nothing was published, or nothing of that kind.

        Raises:
            AssertionError: Something was.
        """
        wanted = _Wanted.of(kind, tenant)
        if any(map(wanted.matches, self.events)):
            raise AssertionError(f"expected that {wanted} is not published; {self._report()}")

    def _report(self) -> str:
        events = [f"{event.type} {dict(event.data)} (tenant {event.tenant})" for event in self.events]
        sent = [f"{d.type} to {d.endpoint.url} ({d.state.value})" for d in self.deliveries]
        lines = ["published: " + ("; ".join(events) or "nothing"), "delivered: " + ("; ".join(sent) or "nothing")]
        if events and not sent:
            lines.append("deliveries are made by outbox.deliver() or outbox.advance(...)")
        return "\n".join(lines)


# ── events ─────────────────────────────────────────────────────────────────────────────────────


def _published(stored: StoredEvent) -> PublishedEvent:
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
class _Wanted:
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


# ── the kit ────────────────────────────────────────────────────────────────────────────────────


class _OutboxKit(Notifykit):
    """A kit for all event loops of a test, also short-lived ones.

    Its dispatchers do nothing: a program that runs one must not race with its test.
    """

    def __init__(self, outbox: Outbox, **options: Unpack[KitOptions]) -> None:
        super().__init__(**options)
        self._outbox = outbox

    async def open(self) -> Self:
        return self

    async def aclose(self) -> None:
        pass

    async def apublish(
        self,
        event: object,
        *,
        session: AnySession | None = None,
        connection: AnyConnection | None = None,
        **options: Unpack[PublishOptions],
    ) -> Receipt:
        if session is None and connection is None:
            return await self._outbox.at_home(lambda kit: kit.apublish(event, **options))
        return await super().apublish(event, session=session, connection=connection, **options)

    async def apublish_many(
        self,
        events: Iterable[object],
        *,
        session: AnySession | None = None,
        connection: AnyConnection | None = None,
        **options: Unpack[PublishOptions],
    ) -> list[Receipt]:
        if session is None and connection is None:
            return await self._outbox.at_home(lambda kit: kit.apublish_many(events, **options))
        return await super().apublish_many(events, session=session, connection=connection, **options)

    def dispatcher(
        self, channels: Sequence[Channel] | None = None, settings: DispatchSettings | None = None
    ) -> Dispatcher:
        del channels, settings
        return _IdleDispatcher(self._outbox)


class _IdleDispatcher(Dispatcher):
    def __init__(self, outbox: Outbox) -> None:
        idle = DispatchSettings(roles=frozenset())
        super().__init__(outbox.kit.store, [], idle, clock=outbox.clock)
        self._outbox = outbox

    async def drained(self) -> None:
        await self._outbox.adeliver()


@attrs.frozen(kw_only=True)
class _OfflineEgress(EgressRules):
    def guard(self) -> Guard:
        return Guard(self.allow, allow_http=self.allow_http, allow_names=self.allow_names, resolver=_Anywhere())


class _Anywhere:
    async def resolve(self, host: str, port: int) -> Sequence[str]:  # noqa: ARG002
        return [_ADDRESS]
