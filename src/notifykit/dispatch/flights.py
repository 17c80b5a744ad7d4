"""Events whose deliveries are sent before their plan is written (see ADR 0014).

A freshly taken event is leased to this process as a whole, so its few deliveries need no
lease of their own: they are sent at once, and what became of them is written together
with the plan.  A flight that takes long lands early: its plan is written with what is
still being sent leased as usual.  One that could not be written is written without its results, which
are recorded one by one: then a lease of their own keeps them from being sent again while they
wait, and neither the plan nor the other results depend on what was wrong with one of them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from itertools import takewhile

from ..failpoints import failpoint
from ..models.delivery import Claim, DeliveryState, NewDelivery
from ..models.event import TakenEvent
from ..ports import Clock, Outbox, Record, Settlement
from ..telemetry import ClaimLost, EventsPlanned, TelemetryEvent
from .leases import Leases

#: The fence of deliveries that are sent for the first time.
FENCE = 1
#: Seconds after which a flight lands although not all of it is over.
PATIENCE = 0.25

Written = Callable[[], None]
Result = tuple[Record, Written | None]


class Flight:
    """One event under way.

    Attributes:
        claims: Its deliveries that are sent, by id.
        planned: How many deliveries the event has.
        results: What became of them so far, each with what to call once it is written.
        failed: How often it could not be written.
        shown: How many of the results the last settlement told of.
        since: When it was started, in the event loop's time.
    """

    __slots__ = (
        "_deliveries",
        "_fence",
        "claims",
        "event_id",
        "failed",
        "lands",
        "planned",
        "results",
        "shown",
        "since",
    )

    def __init__(self, event: TakenEvent, deliveries: list[NewDelivery], claims: list[Claim], *, since: float) -> None:
        self.event_id = event.id
        self.claims = {claim.delivery_id: claim for claim in claims}
        self.results: list[Result] = []
        self.since = since
        self.lands = False
        self._fence = event.fence
        self._deliveries = deliveries
        self.planned = len(deliveries)
        self.shown = 0
        self.failed = 0

    def settlement(self) -> Settlement:
        """Return the plan with what is known by now, or without that if it could not be written so."""
        self.shown = 0 if self.failed else len(self.results)
        deliveries = self._deliveries
        if self.shown < len(self.claims):
            left = {claim.delivery_id for claim in self.left()}
            deliveries = [new._replace(state=DeliveryState.SENDING) if new.id in left else new for new in deliveries]
        return Settlement(
            self.event_id, self._fence, deliveries, None, [record for record, _ in self.results[: self.shown]]
        )

    def left(self) -> list[Claim]:
        """Return that of which the last settlement told no result."""
        if self.shown == len(self.claims):
            return []
        known = {record.delivery_id for record, _ in self.results[: self.shown]}
        return [claim for id_, claim in self.claims.items() if id_ not in known]


class Flights:
    """The flights of this process, from their start until they are written.

    Args:
        lease: Of what is still being sent when its flight lands.
        worker: Whose lease that is.
        emit: Gets telemetry.
        on_landing: Called when there is something to write again.
        on_loss: Gets the results for an event that another worker has taken meanwhile.
    """

    def __init__(
        self,
        store: Outbox,
        leases: Leases,
        clock: Clock,
        lease: timedelta,
        worker: str,
        emit: Callable[[TelemetryEvent], None],
        on_landing: Callable[[], None],
        on_loss: Callable[[list[Result]], None],
    ) -> None:
        self._store = store
        self._leases = leases
        self._clock = clock
        self._lease = lease
        self._worker = worker
        self._emit = emit
        self._on_landing = on_landing
        self._on_loss = on_loss
        self._of: dict[str, Flight] = {}
        self._aloft: dict[str, Flight] = {}
        self._some = asyncio.Event()
        self.landing: list[Flight] = []

    def start(self, flight: Flight) -> None:
        """Collect the results of a flight until it lands."""
        if not self._aloft:
            self._some.set()
        self._aloft[flight.event_id] = flight
        for id_ in flight.claims:
            self._of[id_] = flight

    def take(self, record: Record, written: Written | None) -> bool:
        """Keep what became of a delivery, if it belongs to a flight; tell whether it does."""
        if record.fence != FENCE:  # it was claimed by itself, after its flight was lost
            return False
        flight = self._of.get(record.delivery_id)
        if flight is None:
            return False
        flight.results.append((record, written))
        if len(flight.results) == len(flight.claims) and not flight.lands:
            self._bring_down(flight)
        return True

    def bring_down(self, before: float = math.inf) -> None:
        """Land all flights that were started ``before`` this time of the event loop."""
        for flight in list(takewhile(lambda flight: flight.since < before, self._aloft.values())):
            self._bring_down(flight)

    def _bring_down(self, flight: Flight) -> None:
        flight.lands = True
        del self._aloft[flight.event_id]
        self.landing.append(flight)
        if len(self.landing) == 1:
            self._on_landing()

    async def watch(self) -> None:
        """Bring down what takes long, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._aloft:
                await asyncio.sleep(PATIENCE / 4)
                self.bring_down(asyncio.get_running_loop().time() - PATIENCE)

    async def land(self, limit: int) -> list[Result]:
        """Write flights that are over, or take long; return what has still to be recorded one by one.

        They stay with us if the store does not take them.
        """
        flights = self.landing[:limit]
        now = self._clock.now()
        settlements = [flight.settlement() for flight in flights]
        try:
            settled = await self._store.settle(settlements, now=now, lease=self._lease, worker=self._worker)
        except Exception:
            for flight in flights:
                flight.failed += 1
            raise
        failpoint("fan.committed")
        failpoint("res.committed")
        del self.landing[: len(flights)]
        late: list[Result] = []
        planned = 0
        for flight in flights:
            for id_ in flight.claims:
                del self._of[id_]
            if flight.event_id not in settled:
                for claim in flight.claims.values():
                    self._leases.add(claim)
                self._on_loss(flight.results)
                continue
            planned += flight.planned
            for _, written in flight.results[: flight.shown]:
                if written is not None:
                    written()
            if flight.shown < len(flight.claims):
                late += flight.results[flight.shown :]
                for claim in flight.left():
                    self._leases.add(claim)
                    self._leases.extended(claim.delivery_id, now + self._lease)
        self._emit(EventsPlanned(events=len(settled), deliveries=planned, took=self._clock.now() - now))
        return late

    def give_up(self) -> str | None:
        """Drop the first of those that land, of which the store refuses even the plan, and return its event's id.

        One whose results may be to blame is kept, to be written without them.
        """
        if self.landing[0].failed < 2:
            return None
        flight = self.landing.pop(0)
        for id_ in flight.claims:
            del self._of[id_]
        for record, _ in flight.results:
            self._emit(ClaimLost(delivery_id=record.delivery_id, fence=record.fence))
        return flight.event_id
