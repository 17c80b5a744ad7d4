"""What a program published and what came of it, for the program's own tests.

An :class:`Outbox` is a kit in memory with a clock that the test moves.  What is
planned, signed, sent and tried again goes through the library's own planner and
senders; only the socket is missing.  Nothing happens by itself: deliveries are made
by :meth:`Outbox.deliver` and :meth:`Outbox.advance`, in the same order each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from os import PathLike
from typing import Any, Self, TypeVar, Unpack, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..admin.endpoints import EndpointOptions
from ..channels.plain import PlainRenderer
from ..codec import dumps, loads
from ..default import stand_in
from ..dispatch.runtime.dispatcher import Dispatcher
from ..dispatch.settings import DispatchSettings
from ..errors import InvalidInputError
from ..kit import Notifykit
from ..models.endpoint import Endpoint
from ..models.event import EventType
from ..models.inbox import IN_APP, InboxMark
from ..models.outcome import Outcome
from ..options import EgressRules
from ..ports import Store
from ..telemetry import RenderingFailed, TelemetryEvent
from .clock import FakeClock
from .outbox_kit import OfflineEgress, OutboxKit
from .published import OutboxDelivery, PublishedEvent, Target, Wanted, published
from .recording import RecordingChannel, RecordingPeople, RecordingProvider, Sent
from .shared_store import SharedStore

T = TypeVar("T")

_FOREVER = timedelta(days=36500)
_NOW = timedelta(0)


class Outbox:
    """A kit for tests, and what was done with it.

    While it is open it replaces the default kit, so that ``notifykit.publish()`` stores events here.  It is
    for sync and async tests alike: :meth:`deliver` and :meth:`advance` may be
    called from either; :meth:`adeliver` and :meth:`aadvance` let the test's loop run meanwhile.

    URLs are checked by the same rules as in production, but no name is ever looked up.  Messages for people are
    rendered as in production, and kept.

    Args:
        event_types: What the kit's catalog knows.
        egress: Rules to use instead of the default ones.
        templates: The folder of the templates; by default that which the program configures.
        start: Where the clock starts and stands; by default now.

    Attributes:
        kit: Hand it to programs that take a kit; its dispatchers do nothing, the test makes the deliveries.
        clock: Moved by :meth:`advance`.
    """

    kit: OutboxKit
    clock: FakeClock

    def __init__(
        self,
        *,
        event_types: Iterable[type | EventType] = (),
        egress: EgressRules | None = None,
        templates: str | PathLike[str] = "",
        start: datetime | None = None,
    ) -> None:
        self._event_types = tuple(event_types)
        self._egress = egress or EgressRules()
        self._templates = templates
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
            egress = OfflineEgress(allow=rules.allow, allow_names=rules.allow_names, allow_http=rules.allow_http)
            self._sent: Sent = []
            self._unrendered: dict[str, str] = {}
            self._people = RecordingPeople(self._shared.memory, self._sent)
            self.kit = OutboxKit(
                self,
                store=store,
                event_types=self._event_types,
                channels=self._people.channels,
                templates=self._templates,
                egress=egress,
                clock=self.clock,
            )
            self.use_renderer()
            opening.callback(self._shared.close)
            opening.callback(self.kit.close)
            self._home_kit = self.kit.twin()  # the kit whose calls run in the outbox's own loop
            self._channel = RecordingChannel(egress.guard(), self._sent)
            self._dispatcher = Dispatcher(
                self._shared.memory,  # so that the library's own events are not listed as the program's
                [self._channel, *self._people.channels],
                DispatchSettings(retention=_FOREVER),
                clock=self.clock,
                subscribers=[self._keep_failure],
                rng=lambda: 0.5,  # no jitter: every pause is exactly as long as the policy says
                declared=self.kit.catalog.get,
            )
            opening.enter_context(stand_in(self.kit, self.kit.configure))
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
        """Let the next attempts (at ``endpoint``) lead to ``outcomes``, one each; later ones succeed again.

        Raises:
            InvalidInputError: There are no outcomes, or one is none.
        """
        endpoint_id = endpoint.id if isinstance(endpoint, Endpoint) else endpoint
        self._portal.call(partial(self._channel.answer, *outcomes, endpoint_id=endpoint_id))

    def provider(self, channel: str) -> RecordingProvider:
        """Return what takes the messages of a channel to people: ``email``, ``sms``, ``push`` or ``chat``.

        ``outbox.provider("email").fail_next(Transient(reason="smtp_421"), times=2)`` lets its next attempts fail.

        Raises:
            InvalidInputError: No channel of this name has a provider.
        """
        providers = self._people.providers
        if channel not in providers:
            raise InvalidInputError([f"channel: must be one of {', '.join(providers)}, not {channel!r}"])
        return providers[channel]

    def use_renderer(self) -> None:
        """Render later messages as the kit is configured now."""
        self._people.use(self.kit.renderer(PlainRenderer()))

    # -- delivering -----------------------------------------------------------------------

    def deliver(self) -> list[OutboxDelivery]:
        """Make every attempt that is due now; return the deliveries that were attempted."""
        return self.advance()

    def advance(
        self, by: timedelta = _NOW, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> list[OutboxDelivery]:
        """Let time pass and make every attempt at the moment when it becomes due.

        Later steps, digests and what waits for the end of quiet hours become due, too.

        Args:
            by: How much time; or ``days``, ``hours``, ``minutes`` and ``seconds``.

        Returns:
            The deliveries that were attempted, each once.
        """
        by = _span(by, timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))
        self._shared.published()  # removes what was rolled back
        return self._portal.call(self._advance, by)

    async def adeliver(self) -> list[OutboxDelivery]:
        """Do the same as :meth:`deliver` while the caller's event loop keeps running."""
        return await self.aadvance()

    async def aadvance(
        self, by: timedelta = _NOW, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0
    ) -> list[OutboxDelivery]:
        """Do the same as :meth:`advance` while the caller's event loop keeps running."""
        by = _span(by, timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))
        self._shared.published()
        return await self.at_home(lambda _: self._advance(by))

    def read(self, recipient: str, kind: object = None, *, tenant: str | None = None) -> None:
        """Mark what was delivered to a person's in-app inbox as read: everything, or what is of ``kind``.

        Args:
            kind: As for :meth:`one`.

        Raises:
            AssertionError: There is nothing.
        """
        wanted, there = Wanted.of(kind, tenant), Target(to=recipient, channel=IN_APP)
        found = self._matching(wanted, there)
        if not found:
            raise AssertionError(f"expected an inbox item of {wanted}{there}, found none; {self._report()}")
        for item in found:
            inbox = self._home_kit.inbox(recipient, tenant=item.tenant)
            self._portal.call(inbox.mark, item.id, InboxMark.READ)

    async def at_home(self, call: Callable[[Notifykit], Awaitable[T]]) -> T:
        """Make a call in the outbox's own loop, with the kit that is open there, and await it in the caller's."""
        return await asyncio.wrap_future(self._portal.start_task_soon(call, self._home_kit))

    async def _advance(self, by: timedelta) -> list[OutboxDelivery]:
        before = len(self._sent)
        until = self.clock.now() + by
        await self._work()
        while (due := (await self._home_kit.store.next_due()).first) is not None and self.clock.now() < due <= until:
            self.clock.advance(due - self.clock.now())
            await self._work()
        self.clock.advance(until - self.clock.now())
        await self._work()
        return await self._deliveries(self._sent[before:])

    async def _work(self) -> None:
        while await self._dispatcher.step():
            pass

    def _keep_failure(self, event: TelemetryEvent) -> None:
        if isinstance(event, RenderingFailed):
            self._unrendered[event.delivery_id] = event.error

    # -- looking ---------------------------------------------------------------------------------

    @property
    def events(self) -> list[PublishedEvent]:
        """Everything that the program published, in that order; nothing that was rolled back.

        Operational events that the library itself publishes, such as ``endpoint.failing``, are only among the
        deliveries.
        """
        return [published(stored) for stored in self._shared.published()]

    @property
    def deliveries(self) -> list[OutboxDelivery]:
        """Every delivery of which an attempt was made, in the order of the first attempts."""
        return self._portal.call(self._deliveries, list(self._sent))

    async def _deliveries(self, sent: Sent) -> list[OutboxDelivery]:
        found = []
        for delivery_id, tenant in dict.fromkeys((each.delivery_id, each.tenant) for each in sent):
            delivery = await self._home_kit.deliveries.get(delivery_id, tenant=tenant)
            stored = await self._home_kit.events.get(delivery.event_id, tenant=tenant)
            attempts = tuple(each for each in self._sent if each.delivery_id == delivery_id)
            found.append(OutboxDelivery(delivery=delivery, event=published(stored), sent=attempts))
        return found

    def one(
        self,
        kind: object = None,
        *,
        tenant: str | None = None,
        endpoint: Endpoint | str | None = None,
        to: str | None = None,
        channel: str | None = None,
    ) -> OutboxDelivery:
        """Return the only delivery that matches.

        Args:
            kind: An event type, a class declared with ``@event``, or an instance with exactly this data.
            endpoint: The endpoint, its id or its URL.
            to: The person's id, or one of their addresses.
            channel: ``email``, ``in_app``, ``webhook`` …

        Raises:
            AssertionError: None matches, or several do.
        """
        wanted = Wanted.of(kind, tenant)
        there = Target(endpoint=endpoint.id if isinstance(endpoint, Endpoint) else endpoint, to=to, channel=channel)
        found = self._matching(wanted, there)
        if len(found) != 1:
            raise AssertionError(f"expected one delivery of {wanted}{there}, found {len(found)}; {self._report()}")
        return found[0]

    def _matching(self, wanted: Wanted, there: Target) -> list[OutboxDelivery]:
        return [each for each in self.deliveries if wanted.matches(each.event) and each.is_to(there)]

    def assert_published(self, kind: object, *, tenant: str | None = None, **data: Any) -> PublishedEvent:
        """Return the first event that matches.

        Args:
            kind: An event type, a class declared with ``@event``, or an instance with exactly this data.
            data: Members of the event's data with their values.

        Raises:
            AssertionError: None matches.
        """
        wanted = Wanted.of(kind, tenant)
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
        wanted = Wanted.of(kind, tenant)
        if any(map(wanted.matches, self.events)):
            raise AssertionError(f"expected that {wanted} is not published; {self._report()}")

    def _report(self) -> str:
        events = [f"{event.type} {dict(event.data)} (tenant {event.tenant})" for event in self.events]
        sent, unsent = [str(delivery) for delivery in self.deliveries], self._portal.call(self._unsent)
        lines = ["published: " + ("; ".join(events) or "nothing"), "delivered: " + ("; ".join(sent) or "nothing")]
        if unsent:
            lines.append("not sent: " + "; ".join(unsent))
        elif events and not sent:
            lines.append("deliveries are made by outbox.deliver() or outbox.advance(...)")
        return "\n".join(lines)

    async def _unsent(self) -> list[str]:
        """Return the deliveries of which no attempt was made, and why."""
        sent = {each.delivery_id for each in self._sent}
        return [
            f"{each.event_type} to {each.subscriber_id} by {each.channel} "
            f"({each.state.value}: {self._unrendered.get(each.id, each.reason)})"
            for tenant in sorted({event.tenant for event in self._shared.published()})
            for each in await self._home_kit.deliveries.list(tenant=tenant)
            if each.id not in sent
        ]


def _span(by: timedelta, more: timedelta) -> timedelta:
    if not isinstance(by, timedelta):
        raise TypeError(f"write a timedelta, or seconds={by!r}, minutes=… or hours=…, not {by!r} alone")
    return by + more
