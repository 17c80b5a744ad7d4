"""From published events to deliveries.

What this process has room to send at once goes straight to its senders, which saves the
claim: the few deliveries of an ordinary event before they are settled (see ``sending/eager.py``),
others settled as leased.  Everything else is settled as due.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from ...errors import StoreUnavailableError, ValueRefusedError
from ...failpoints import failpoint
from ...models.audience import NOBODY, Audience
from ...models.delivery import Claim, DeliveryState, NewDelivery, Priority
from ...models.destination import Destination
from ...models.event import TakenEvent
from ...policies.audience import is_among_named, named_page
from ...ports import Settlement
from ...telemetry import EventsPlanned, LoopFailed, why
from ..context import Context
from ..directory import AT_ONE_GO, Directory, TenantView
from ..large_tenants import LargeTenant
from ..people import Page, People
from ..round_robin import PollResult, RoundRobin
from ..sending.backlog import Backlog, Held
from ..sending.circuits import Circuits
from ..sending.eager import FENCE, EagerSend, EagerSends
from ..sending.leases import Leases
from .watermark import ScanWatermark

#: Deliveries of an event that can be sent before they are settled.
_FEW = 8
#: Deliveries that are settled at a time, and of one event before others have their turn.
_PAGE = 1000
#: The same while other tenants have events, and while these bypass the batch: they wait for the write of a page.
_SHORT_PAGE, _VERY_SHORT_PAGE = 100, 50
#: Fewer events than this came by themselves: to look for more at once would compete with their delivery.
_MANY = 8
#: How many events one bypass takes: few, so that the next ones do not wait long for it.
_BYPASS = 10
#: The bypass only takes events that were published within this time; older ones wait for the round robin.
_JUST = timedelta(seconds=0.5)
#: Events are taken while those whose tenants are not read have fewer bytes, and are fewer, than this (see ADR 31).
_UNREAD_BYTES, _UNREAD = 16_000_000, 10_000
#: How many seconds the planner waits for its senders at the most, and how often it looks (see ADR 32).
_WAIT, _LOOK = 0.05, 0.002


class _LeasedLocally(NamedTuple):
    """A delivery that this process sends itself."""

    event: TakenEvent
    new: NewDelivery
    version: int
    destination: Destination


class _Batch:
    """Events that are to be planned.

    Those of tenants with much to do come last: the others wait for no page of theirs.

    Attributes:
        waiting: Pages for people, until there are enough of them for one read.
        people: How many people these are for.
    """

    def __init__(self, taken: Sequence[TakenEvent], heavy: Collection[str]) -> None:
        self.events = deque(sorted(taken, key=lambda event: event.tenant in heavy))
        self.heavy = heavy
        self.waiting: list[tuple[Page, Mapping[str, str]]] = []
        self.people = 0

    def next(self) -> TakenEvent | None:
        """Take the next event out; ``None`` if first the pages that wait have to be completed, or if there is none."""
        if not self.events or (
            self.waiting and self.events[0].tenant in self.heavy and self.waiting[0][0].event.tenant not in self.heavy
        ):
            return None
        return self.events.popleft()

    def waits(self, page: Page) -> bool:
        """Keep a page that recipients have to be read for; return whether it is one."""
        if addressees := page.addressees():
            self.waiting.append((page, addressees))
            self.people += len(addressees)
        return bool(addressees)

    def release(self) -> list[tuple[Page, Mapping[str, str]]]:
        """Return what waits, so that nothing waits any more."""
        released, self.waiting, self.people = self.waiting, [], 0
        return released


@dataclass(eq=False)
class Planner:
    """Takes events, plans them and settles them.

    Attributes:
        backlogs: Where this process's own claims go; empty if it does not send.
    """

    context: Context
    directory: Directory
    people: People
    backlogs: Mapping[tuple[str, Priority], Backlog]
    leases: Leases
    eager_sends: EagerSends
    circuits: Circuits

    def __post_init__(self) -> None:
        self._watermark = ScanWatermark()
        #: Events whose tenants are not read, with the ends of their leases.
        self._unread: deque[tuple[TakenEvent, datetime]] = deque()
        self._unread_bytes = 0
        self._round_robin = RoundRobin(self.context.settings.batch, self.context.dispatchers)

    @property
    def is_bypassed(self) -> bool:
        """Whether events of other tenants were planned beside a large batch lately, and would wait for long writes."""
        return self._round_robin.is_bypassed

    def _page(self, tenant: str) -> int:
        """Return how many deliveries of a tenant are settled at a time."""
        if self.is_bypassed:
            return min(_PAGE, _VERY_SHORT_PAGE)
        return _PAGE if self._round_robin.is_alone(tenant) else min(_PAGE, _SHORT_PAGE)

    async def turn(self) -> PollResult:
        """Plan one batch."""
        await self._wait_for_senders()
        limit, exclude = self._round_robin.batch_size, self._round_robin.throttled
        started = time.monotonic()
        now, lease = self.context.clock.now(), self.context.settings.lease
        since = self._watermark.since(exclude, now)
        taken: list[TakenEvent] = []
        goes_on = False
        if len(self._unread) < _UNREAD and self._unread_bytes < _UNREAD_BYTES:
            taken = await self.context.store.take(limit, now=now, lease=lease, exclude=exclude, since=since)
            if len(taken) < limit:
                self._watermark.note(exclude, since, now, taken)
            goes_on = await self._settle_known(taken, now + lease)
            self._round_robin.note((event.tenant for event in taken), limit=limit, took=time.monotonic() - started)
        goes_on |= await self._settle_unread()
        if exclude or goes_on or self._unread or len(taken) >= min(limit, _MANY):
            return PollResult.MUCH
        return PollResult.FEW if taken else PollResult.NOTHING

    async def _wait_for_senders(self) -> None:
        """Wait a little while senders hold many claims of the only tenant with events, so that the next find room."""
        for _ in range(round(_WAIT / _LOOK)):
            tenant = self._round_robin.only
            if tenant is None or not any(backlog.holds_much(tenant) for backlog in self.backlogs.values()):
                return
            await asyncio.sleep(_LOOK)

    async def finish(self) -> None:
        """Plan what is leased to this process."""
        while self._unread:
            await self._settle_unread()

    async def bypass(self) -> PollResult:
        """Plan new events of tenants that have little to do, beside the batch under way.

        While no tenant has much to do the next batch contains them anyway.
        """
        large_tenants = self._round_robin.heavy
        if not large_tenants:
            return PollResult.NOTHING
        now, lease = self.context.clock.now(), self.context.settings.lease
        taken = await self.context.store.take(_BYPASS, now=now, lease=lease, exclude=large_tenants, since=now - _JUST)
        await self._settle_known(taken, now + lease)
        self._round_robin.note_bypass((event.tenant for event in taken), limit=_BYPASS)
        return PollResult.MUCH if len(taken) >= _BYPASS else PollResult.NOTHING

    async def _settle_known(self, taken: list[TakenEvent], until: datetime) -> bool:
        """Plan events of tenants that are read, and keep the others: to read many tenants takes a while."""
        if not taken:
            return False
        known: list[TakenEvent] = []
        for event in taken:
            if self.directory.known(event.tenant, event.tenant_version) is not None:
                known.append(event)
            else:
                self._unread.append((event, until))
                self._unread_bytes += len(event.body)
        return await self._settle(known, until) if known else False

    async def _settle_unread(self) -> bool:
        """Read the next few of the tenants that are not read, and plan their events."""
        now = self.context.clock.now()
        some: list[TakenEvent] = []
        wanted: dict[str, int] = {}
        until = now
        while self._unread and (len(wanted) < AT_ONE_GO or self._unread[0][0].tenant in wanted):
            event, until_then = self._unread.popleft()
            self._unread_bytes -= len(event.body)
            if until_then > now:  # or it was taken by another planner
                until = min(until, until_then) if some else until_then
                some.append(event)
                wanted[event.tenant] = max(event.tenant_version, wanted.get(event.tenant, 0))
        if not some:
            return False
        await self.directory.read(wanted)
        return await self._settle(some, until)

    async def _settle(self, taken: list[TakenEvent], until: datetime) -> bool:
        """Plan events that are leased to us; start them, or write what was planned whenever it is a page.

        Returns:
            Whether one of them goes on with another page.
        """
        failpoint("fan.leased")
        lost: list[Settlement] = []
        settlements: list[Settlement] = []
        leased: list[_LeasedLocally] = []
        coming: dict[str, int] = {}
        planned = 0
        goes_on = False
        await self.directory.prepare(taken)
        now, since = self.context.clock.now(), asyncio.get_running_loop().time()
        views = await self._views(taken)
        batch = _Batch(taken, self._round_robin.heavy)
        while batch.events or batch.waiting:
            for page in self._next_plain(batch, views, now) or await self._pages(batch, views, now):
                event, deliveries, cursor = page.event, page.deliveries, page.cursor
                view = views[event.tenant, event.tenant_version]
                if len(deliveries) >= _VERY_SHORT_PAGE:
                    self._round_robin.note_much(event.tenant)
                if cursor is None and _could_be_sent(event, deliveries):
                    if event.fence > 1:
                        lost.append(_abandoned(event, deliveries))
                        continue
                    if self._start(event, deliveries, view, coming, len(leased), now, until, since):
                        continue
                goes_on = goes_on or cursor is not None
                self._lease(event, deliveries, view, coming, leased, now)
                settlements.append(Settlement(event.id, event.fence, deliveries, cursor))
                planned += len(deliveries)
                if planned >= self._page(event.tenant):
                    await self._write(settlements, leased, planned, now)
                    settlements, leased, coming, planned, now = [], [], {}, 0, self.context.clock.now()
        if settlements:
            await self._write(settlements, leased, planned, now)
        if lost:
            planned = sum(len(settlement.deliveries) for settlement in lost)
            # As long as a worker that lives may need to record what it has sent, after the store was away.
            await self._write(lost, [], planned, now, lease=self.context.settings.lease / 4, worker="")
        return goes_on

    def _next_plain(
        self, batch: _Batch, views: Mapping[tuple[str, int], TenantView | LargeTenant], now: datetime
    ) -> list[Page] | None:
        """Return the page of the next event if nothing has to be read for it, as for most."""
        if batch.waiting or not batch.events:
            return None
        event = batch.events[0]
        view = views.get((event.tenant, event.tenant_version))
        if event.audience is not None or not isinstance(view, TenantView):
            return None
        page = self._planned(batch.events.popleft(), view, now)
        if page is None or batch.waits(page):
            return None
        return [page]

    async def _pages(
        self, batch: _Batch, views: Mapping[tuple[str, int], TenantView | LargeTenant], now: datetime
    ) -> list[Page]:
        """Return the page of the next event, or those that wait, so that their recipients are read at one go."""
        while not self._is_full(batch) and (event := batch.next()) is not None:
            view = views.get((event.tenant, event.tenant_version))
            if view is None:
                continue
            if event.audience is None and isinstance(view, TenantView):
                page = self._planned(event, view, now)
            else:
                page = await self._page_of(event, view, now)
            if page is not None and not batch.waits(page):
                return [page]
        return await self._completed(batch.release(), now)

    def _is_full(self, batch: _Batch) -> bool:
        return bool(batch.waiting) and batch.people >= self._page(batch.waiting[-1][0].event.tenant)

    async def _page_of(self, event: TakenEvent, view: TenantView | LargeTenant, now: datetime) -> Page | None:
        """Return the next page of an event: first those of the recipients that it names, then the subscribed ones."""
        audience, rest = NOBODY, event
        named: Sequence[str] = ()
        if event.audience is not None:
            audience = Audience.from_json(event.audience)
            named, more = named_page(audience, event.cursor, self._page(event.tenant))
            if more is not None:
                return Page(event, [], more, audience, named)
            rest = event._replace(cursor=None) if is_among_named(event.cursor) else event
        try:
            most = self._page(event.tenant)
            if isinstance(view, TenantView):
                plan = view.plan(rest, now=now, most=most)
            else:
                plan = await view.plan(rest, now=now, most=most)
        except StoreUnavailableError:
            raise
        except Exception as error:
            self._report(event, error)
            return None
        return Page(event, *plan, audience, named)

    async def _completed(self, pages: Sequence[tuple[Page, Mapping[str, str]]], now: datetime) -> list[Page]:
        """Return pages with the deliveries to their addressees; one that cannot be planned is left out."""
        if not pages:
            return []
        try:
            await self.people.complete(pages, now)
        except StoreUnavailableError:
            raise
        except Exception as error:
            if len(pages) == 1:
                self._report(pages[0][0].event, error)
                return []
            return [page for each in pages for page in await self._completed([each], now)]
        return [page for page, _ in pages]

    async def _views(self, taken: list[TakenEvent]) -> dict[tuple[str, int], TenantView | LargeTenant]:
        """Return what is known of the tenants of a batch; one that cannot be read is left out.

        Its events come back when their leases have run out, and those of the others go on.
        """
        views: dict[tuple[str, int], TenantView | LargeTenant] = {}
        wanted = {(event.tenant, event.tenant_version): event for event in taken}
        for of, event in wanted.items():
            try:
                views[of] = await self.directory.view(*of)
            except StoreUnavailableError:
                raise
            except Exception as error:
                self._report(event, error)
        return views

    def _planned(self, event: TakenEvent, view: TenantView, now: datetime) -> Page | None:
        """Return the next page of an event that names no recipients; ``None`` if it cannot be planned."""
        try:
            deliveries, cursor = view.plan(event, now=now, most=self._page(event.tenant))
            return Page(event, deliveries, cursor)
        except Exception as error:
            self._report(event, error)
            return None

    def _report(self, event: TakenEvent, error: Exception) -> None:
        told = f"{event.id} of tenant {event.tenant}: {why(error)}"
        self.context.emit(LoopFailed(loop="plan", error=told, pause=self.context.settings.lease))

    def _lease(
        self,
        event: TakenEvent,
        deliveries: list[NewDelivery],
        view: TenantView | LargeTenant,
        coming: dict[str, int],
        leased: list[_LeasedLocally],
        now: datetime,
    ) -> None:
        """Have those deliveries settled as leased to us that there is room for."""
        for at, new in enumerate(deliveries):
            if new.state is DeliveryState.PENDING and self._has_room(event, new, coming, len(leased), now):
                destination = self.directory.planned(view, new)
                if destination is None or self.circuits.circuit(destination.circuit_key) is not None:
                    continue  # without a destination it is of a large tenant, and was removed: a claim finds out
                coming[new.subscriber_id] = coming.get(new.subscriber_id, 0) + 1
                sending = new._replace(state=DeliveryState.SENDING)
                deliveries[at] = sending
                leased.append(_LeasedLocally(event, sending, view.version, destination))

    def _start(
        self,
        event: TakenEvent,
        deliveries: list[NewDelivery],
        view: TenantView | LargeTenant,
        coming: Mapping[str, int],
        on_their_way: int,
        now: datetime,
        until: datetime,
        since: float,
    ) -> bool:
        """Send an event's deliveries before they are settled, if there is room for all of them now."""
        claims: list[Held] = []
        for new in deliveries:
            if new.state is DeliveryState.PENDING:
                destination = self.directory.planned(view, new)
                # A delivery that waits for tokens would be flushed before it is sent.
                if (
                    destination is None
                    or not destination.is_fast
                    or destination.rate_limit is not None
                    or self.circuits.circuit(destination.circuit_key) is not None
                    or not self._has_room(event, new, coming, on_their_way + len(claims), now)
                ):
                    return False
                claims.append((_claim(event, new, until, view.version), self.circuits.places(destination), False))
        if not claims:
            return False
        self.eager_sends.start(EagerSend(event, deliveries, [claim for claim, _, _ in claims], since=since))
        for held in claims:
            self._backlog(held[0]).add(held)
        return True

    async def _write(
        self,
        settlements: list[Settlement],
        leased: list[_LeasedLocally],
        planned: int,
        now: datetime,
        *,
        lease: timedelta | None = None,
        worker: str | None = None,
    ) -> None:
        """Settle, by default for this process, and hand what was leased to it to its senders."""
        lease = self.context.settings.lease if lease is None else lease
        worker = self.context.worker if worker is None else worker
        settled = await self._settled(settlements, now, lease, worker)
        failpoint("fan.committed")
        until = now + lease
        for event, new, version, destination in leased:
            if event.id in settled:
                claim = _claim(event, new, until, version)
                self.leases.add(claim)
                metered = destination.rate_limit is not None
                self._backlog(new).add((claim, self.circuits.places(destination), metered))
        self.context.emit(EventsPlanned(events=len(settled), deliveries=planned, took=self.context.clock.now() - now))

    async def _settled(self, settlements: list[Settlement], now: datetime, lease: timedelta, worker: str) -> set[str]:
        """Settle; leave out what the store refuses, which is found by halves and comes back with its lease."""
        try:
            return await self.context.store.settle(settlements, now=now, lease=lease, worker=worker)
        except ValueRefusedError as error:
            middle = len(settlements) // 2
            if not middle:
                told = f"{settlements[0].event_id}: {why(error)}"
                self.context.emit(LoopFailed(loop="plan", error=told, pause=self.context.settings.lease))
                return set()
        settled = await self._settled(settlements[:middle], now, lease, worker)
        return settled | await self._settled(settlements[middle:], now, lease, worker)

    def _backlog(self, one: NewDelivery | Claim) -> Backlog:
        return self.backlogs[one.channel, one.priority]

    def _has_room(
        self, event: TakenEvent, new: NewDelivery, coming: Mapping[str, int], on_their_way: int, now: datetime
    ) -> bool:
        backlog = self.backlogs.get((new.channel, new.priority))
        return (
            backlog is not None
            and event.cursor is None  # an earlier page may have made it
            and new.due_at <= now
            and new.ordering_key is None
            and backlog.accepts(event.tenant, new.subscriber_id, coming.get(new.subscriber_id, 0), on_their_way)
        )


def _could_be_sent(event: TakenEvent, deliveries: list[NewDelivery]) -> bool:
    """Tell whether the planner that takes the event first may send it before it is settled."""
    return event.cursor is None and event.ordering_key is None and len(deliveries) <= _FEW


def _abandoned(event: TakenEvent, deliveries: list[NewDelivery]) -> Settlement:
    """Return the plan of an event that another worker took and may have sent: leased, until that one is rescued."""
    sent = [
        new._replace(state=DeliveryState.SENDING) if new.state is DeliveryState.PENDING else new for new in deliveries
    ]
    return Settlement(event.id, event.fence, sent)


def _claim(event: TakenEvent, new: NewDelivery, lease_until: datetime, version: int) -> Claim:
    return Claim(
        new.id,
        FENCE,
        1,
        0,
        0,
        event.tenant,
        event.id,
        event.type,
        new.subscription_id,
        new.subscriber_id,
        new.channel,
        new.priority,
        new.ordering_key,
        event.published_at,
        new.expires_at,
        lease_until,
        event.body,
        version,
        new.address,
        event.details,
    )
