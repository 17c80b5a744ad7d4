"""From due deliveries to tickets in the broker.

The store hands a delivery over for a hold time.  If it was not claimed by then, for whatever reason, it is handed
over again: so the broker may lose anything.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from ..failpoints import failpoint
from ..models.delivery import Lane, Priority
from ..ports import Broker, Outstanding, Ticket
from .context import Context
from .round_robin import PollResult, RoundRobin
from .sending.backlog import Backlog

#: Of the tickets of a lane that are out one tenant may have one in so many, and one subscriber.
_TENANT_SHARE, _SUBSCRIBER_SHARE = 2, 8


class Relay:
    """Hands what is due to a broker, lane by lane.

    Args:
        context: Of the dispatcher.
        broker: Carries the tickets to workers.
        backlogs: Of this process, if it sends: what these have no room for is not handed over by this process.
    """

    def __init__(self, context: Context, broker: Broker, backlogs: Mapping[tuple[str, Priority], Backlog]) -> None:
        self._context = context
        self._broker = broker
        self._backlogs = backlogs
        most = context.settings.tickets
        self._most = Outstanding(most, max(1, most // _TENANT_SHARE), max(1, most // _SUBSCRIBER_SHARE))
        self._tenants: defaultdict[Lane, RoundRobin] = defaultdict(lambda: RoundRobin(context.settings.batch))
        self._unsent: dict[Lane, tuple[list[Ticket], datetime]] = {}

    async def turn(self, lane: Lane) -> PollResult:
        """Hand over one batch of a lane.

        Raises:
            BrokerUnavailableError: The batch is kept, and the next turn tries it again.
        """
        await self._put(lane)
        settings, tenants, backlog = self._context.settings, self._tenants[lane], self._backlogs.get(lane)
        limit, throttled = tenants.batch_size, tenants.throttled
        now, started = self._context.clock.now(), time.monotonic()
        tickets = await self._context.store.hand_off(
            lane,
            limit,
            now=now,
            hold=settings.hold,
            most=self._most,
            exclude=() if backlog is None else backlog.full(),
            exclude_tenants=[*throttled, *(() if backlog is None else backlog.full_tenants())],
        )
        tenants.note((ticket.tenant for ticket in tickets), limit=limit, took=time.monotonic() - started)
        if tickets:
            failpoint("relay.held")
            self._unsent[lane] = tickets, now + settings.hold
            await self._put(lane)
        if throttled or len(tickets) >= limit:
            return PollResult.MUCH
        return PollResult.FEW if tickets else PollResult.NOTHING

    async def _put(self, lane: Lane) -> None:
        """Put the tickets of the last batch, unless that was done or their hold has run out."""
        tickets, until = self._unsent.get(lane, ([], None))
        if until is not None and self._context.clock.now() < until:
            await self._broker.put(tickets)
        self._unsent.pop(lane, None)
