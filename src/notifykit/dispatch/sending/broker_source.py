"""Where a lane's claims come from with a broker: each ticket claims the delivery that it names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs

from ...failpoints import failpoint
from ...models.delivery import Claim
from ...ports import Received
from ..round_robin import PollResult
from .intake import Intake, Waiting
from .source import StoreSource


@attrs.define
class BrokerSource(StoreSource):
    """Keeps one lane's backlog filled from the tickets that this process has received."""

    intake: Intake = attrs.field(kw_only=True)

    async def turn(self) -> PollResult:
        room = self.backlog.room()
        if room < self._least:
            await self.backlog.wait_for_room()
            self.intake.look()
            return PollResult.MUCH
        limit = min(max(self._least, room // 2), self.context.settings.batch)
        taken = self.intake.take(self.lane, limit, self._room_for())
        if not taken:
            return PollResult.NOTHING
        try:
            claims = await self._apart(await self._claim_named(taken))
        except BaseException:
            self.intake.put_back(self.lane, taken)
            raise
        self.intake.done(taken)  # only now: a ticket whose delivery could not be claimed must come again
        self._hold(await self._sendable(claims))
        return PollResult.MUCH

    def _room_for(self) -> Callable[[Received], bool]:
        """Return whether one more delivery may be claimed, beside those of which it has said so."""
        self._forget_probes()
        probed = set(self._probed.values())
        backlog = self.backlog
        # These have the loop of this lane woken when the answers below may change.
        backlog.full()
        backlog.full_tenants()
        backlog.proven(0)
        coming: Counter[str] = Counter()
        in_all = 0

        def has_room(received: Received) -> bool:
            nonlocal in_all
            _, _, tenant, subscriber_id = received.ticket
            if (tenant, subscriber_id) in probed or not backlog.accepts(
                tenant, subscriber_id, coming[subscriber_id], in_all
            ):
                return False
            coming[subscriber_id] += 1
            in_all += 1
            return True

        return has_room

    async def _claim_named(self, taken: list[Waiting]) -> list[Claim]:
        ids = {one.received.ticket.delivery_id for one in taken}
        settings = self.context.settings
        claims = await self.context.store.claim(
            self.lane,
            len(ids),
            now=self.context.clock.now(),
            lease=settings.lease,
            worker=self.context.worker,
            ids=ids,
        )
        if claims:
            failpoint("dlv.leased")
        return claims
