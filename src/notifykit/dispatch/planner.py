"""From published events to deliveries.

What this process has room to send at once is settled already leased to it and goes
straight to its senders, which saves the claim; everything else is settled as due.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

import attrs

from ..failpoints import failpoint
from ..models.delivery import Claim, DeliveryState, Lane, NewDelivery
from ..models.endpoint import Endpoint
from ..models.event import TakenEvent
from ..ports import Clock, Settlement, Store
from ..telemetry import EventsPlanned, TelemetryEvent
from .backlog import Backlog
from .directory import Directory
from .rounds import Rounds
from .sender import Leases
from .settings import DispatchSettings
from .vitals import Vitals

#: Deliveries that are settled at a time, and of one event before others have their turn.
_PAGE = 1000


class _Mine(NamedTuple):
    """A delivery that this process sends itself."""

    event: TakenEvent
    new: NewDelivery
    version: int
    endpoint: Endpoint


@attrs.define
class Planner:
    """Takes events, plans them and settles them.

    Attributes:
        backlogs: Where this process's own claims go; empty if it does not send.
    """

    store: Store
    directory: Directory
    backlogs: Mapping[Lane, Backlog]
    leases: Leases
    vitals: Vitals
    settings: DispatchSettings
    clock: Clock
    emit: Callable[[TelemetryEvent], None]
    worker: str
    _rounds: Rounds = attrs.field(init=False)

    @_rounds.default
    def _first_round(self) -> Rounds:
        return Rounds(self.settings.batch)

    async def turn(self) -> bool:
        """Plan one batch; return whether there may be more to plan right away."""
        limit, exclude = self._rounds.portion, self._rounds.standing_back
        started = time.monotonic()
        taken = await self.store.take(limit, now=self.clock.now(), lease=self.settings.lease, exclude=exclude)
        if taken:
            failpoint("fan.leased")
            await self._settle(taken)
        self._rounds.note((event.tenant for event in taken), limit=limit, took=time.monotonic() - started)
        return bool(taken) or bool(exclude)

    async def _settle(self, taken: list[TakenEvent]) -> None:
        """Plan events, and write what was planned whenever it is a page."""
        settlements: list[Settlement] = []
        mine: list[_Mine] = []
        coming: Counter[str] = Counter()
        planned = 0
        await self.directory.prepare(taken)
        now = self.clock.now()
        for event in taken:
            view = await self.directory.view(event.tenant, event.tenant_version)
            deliveries, cursor = await view.plan(event, now=now, most=_PAGE)
            for at, new in enumerate(deliveries):
                if new.state is DeliveryState.PENDING and self._has_room(event, new, coming, len(mine), now):
                    endpoint = view.endpoint(new.subscriber_id)
                    if endpoint is None:  # of a large tenant, and it was removed a moment ago: a claim finds out
                        continue
                    coming[new.subscriber_id] += 1
                    leased = new._replace(state=DeliveryState.SENDING)
                    deliveries[at] = leased
                    mine.append(_Mine(event, leased, view.version, endpoint))
            settlements.append(Settlement(event.id, event.fence, deliveries, cursor))
            planned += len(deliveries)
            if planned >= _PAGE:
                await self._write(settlements, mine, planned, now)
                settlements, mine, coming, planned, now = [], [], Counter(), 0, self.clock.now()
        if settlements:
            await self._write(settlements, mine, planned, now)

    async def _write(
        self,
        settlements: list[Settlement],
        mine: list[_Mine],
        planned: int,
        now: datetime,
    ) -> None:
        """Settle, and hand what was leased to this process to its senders."""
        lease = self.settings.lease
        settled = await self.store.settle(settlements, now=now, lease=lease, worker=self.worker)
        failpoint("fan.committed")
        until = now + lease
        for event, new, version, endpoint in mine:
            if event.id in settled:
                claim = _claim(event, new, until, version)
                self.leases.add(claim)
                self._backlog(new).add(((claim, self.vitals.places(endpoint), endpoint.rate_limit is not None),))
        self.emit(EventsPlanned(events=len(settled), deliveries=planned, took=self.clock.now() - now))

    def _backlog(self, new: NewDelivery) -> Backlog:
        return self.backlogs[Lane(new.channel, new.priority)]

    def _has_room(
        self, event: TakenEvent, new: NewDelivery, coming: Counter[str], on_their_way: int, now: datetime
    ) -> bool:
        backlog = self.backlogs.get(Lane(new.channel, new.priority))
        return (
            backlog is not None
            and event.cursor is None  # an earlier page may have made it
            and new.due_at <= now
            and new.ordering_key is None
            and self.vitals.ailment(new.subscriber_id) is None
            and backlog.room() > on_their_way
            and backlog.accepts(new.subscriber_id, coming[new.subscriber_id])
        )


def _claim(event: TakenEvent, new: NewDelivery, lease_until: datetime, version: int) -> Claim:
    return Claim(
        new.id,
        1,
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
    )
