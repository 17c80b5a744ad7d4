"""Events whose deliveries are sent before their plan is written (see ADR 0014).

A freshly taken event is leased to this process as a whole, so its few deliveries need no
lease of their own: they are sent at once, and what became of them is written together
with the plan.  An eager send that takes long is flushed early: its plan is written, and what is
still being sent is leased as usual.  One that could not be written is written without its results, which
are recorded one by one: then a lease of their own keeps them from being sent again while they
wait, and neither the plan nor the other results depend on what was wrong with one of them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import takewhile

from ...failpoints import failpoint
from ...models.delivery import Claim, DeliveryState, NewDelivery
from ...models.event import TakenEvent
from ...ports import Record, Settlement
from ...telemetry import ClaimLost, EventsPlanned
from ..context import Context
from .leases import Leases

#: The fence of deliveries that are sent for the first time.
FENCE = 1
#: Seconds after which an eager send is flushed although not all of its deliveries were answered.
PATIENCE = 0.25

Written = Callable[[], None]
Result = tuple[Record, Written | None]


class EagerSend:
    """One event whose deliveries are sent before they are settled.

    Attributes:
        claims: Its deliveries that are sent, by id.
        planned: How many deliveries the event has.
        results: What became of them so far, each with what to call once it is written.
        failed: How often it could not be written.
        shown: How many of the results the last settlement contained.
        since: When it was started, in the event loop's time.
    """

    __slots__ = (
        "_deliveries",
        "_fence",
        "claims",
        "event_id",
        "failed",
        "is_flushing",
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
        self.is_flushing = False
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
        """Return the claims of which the last settlement contained no result."""
        if self.shown == len(self.claims):
            return []
        known = {record.delivery_id for record, _ in self.results[: self.shown]}
        return [claim for id_, claim in self.claims.items() if id_ not in known]


class EagerSends:
    """The eager sends of this process, from their start until they are written.

    Args:
        on_flush: Called when there is something to write again.
        on_loss: Gets the results for an event that another worker has taken meanwhile.
    """

    def __init__(
        self,
        context: Context,
        leases: Leases,
        on_flush: Callable[[], None],
        on_loss: Callable[[list[Result]], None],
    ) -> None:
        self._store = context.store
        self._leases = leases
        self._clock = context.clock
        self._lease = context.settings.lease
        self._worker = context.worker
        self._emit = context.emit
        self._on_flush = on_flush
        self._on_loss = on_loss
        self._of: dict[str, EagerSend] = {}
        self._in_progress: dict[str, EagerSend] = {}
        self._some = asyncio.Event()
        self.flushing: list[EagerSend] = []

    def start(self, eager: EagerSend) -> None:
        """Collect the results of an eager send until it is flushed."""
        if not self._in_progress:
            self._some.set()
        self._in_progress[eager.event_id] = eager
        for id_ in eager.claims:
            self._of[id_] = eager

    def take(self, record: Record, written: Written | None) -> bool:
        """Keep the result of a delivery, if it belongs to an eager send; return whether it does."""
        if record.fence != FENCE:  # it was claimed by itself, after its eager send was lost
            return False
        eager = self._of.get(record.delivery_id)
        if eager is None:
            return False
        eager.results.append((record, written))
        if len(eager.results) == len(eager.claims) and not eager.is_flushing:
            self._finish(eager)
        return True

    def finish(self, before: float = math.inf) -> None:
        """Have all eager sends flushed that were started ``before`` this time of the event loop."""
        for eager in list(takewhile(lambda eager: eager.since < before, self._in_progress.values())):
            self._finish(eager)

    def _finish(self, eager: EagerSend) -> None:
        eager.is_flushing = True
        del self._in_progress[eager.event_id]
        self.flushing.append(eager)
        if len(self.flushing) == 1:
            self._on_flush()

    async def watch(self) -> None:
        """Bring down what takes long, until cancelled."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._in_progress:
                await asyncio.sleep(PATIENCE / 4)
                self.finish(asyncio.get_running_loop().time() - PATIENCE)

    async def flush_eager(self, limit: int) -> list[Result]:
        """Write eager sends that are over, or take long; return the results that must be recorded one by one.

        They stay in this process if the store does not take them.
        """
        eager_sends = self.flushing[:limit]
        now = self._clock.now()
        settlements = [eager.settlement() for eager in eager_sends]
        try:
            settled = await self._store.settle(settlements, now=now, lease=self._lease, worker=self._worker)
        except Exception:
            for eager in eager_sends:
                eager.failed += 1
            raise
        failpoint("fan.committed")
        failpoint("res.committed")
        del self.flushing[: len(eager_sends)]
        late: list[Result] = []
        planned = 0
        for eager in eager_sends:
            for id_ in eager.claims:
                del self._of[id_]
            if eager.event_id not in settled:
                for claim in eager.claims.values():
                    self._leases.add(claim)
                self._on_loss(eager.results)
                continue
            planned += eager.planned
            for _, written in eager.results[: eager.shown]:
                if written is not None:
                    written()
            if eager.shown < len(eager.claims):
                late += eager.results[eager.shown :]
                for claim in eager.left():
                    self._leases.add(claim)
                    self._leases.extended(claim.delivery_id, now + self._lease)
        self._emit(EventsPlanned(events=len(settled), deliveries=planned, took=self._clock.now() - now))
        return late

    def give_up(self) -> str | None:
        """Drop the first one that is flushed, if the store refuses even its plan, and return its event's id.

        One whose results may be to blame is kept, to be written without them.
        """
        if self.flushing[0].failed < 2:
            return None
        eager = self.flushing.pop(0)
        for id_ in eager.claims:
            del self._of[id_]
        for record, _ in eager.results:
            self._emit(ClaimLost(delivery_id=record.delivery_id, fence=record.fence))
        return eager.event_id
