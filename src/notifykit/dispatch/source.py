"""Claims due deliveries for one lane: retries, held ones that wake, and what other planners settled."""

from __future__ import annotations

from collections import Counter

import attrs

from ..failpoints import failpoint
from ..models.delivery import Lane
from ..ports import Clock, Deliveries
from .backlog import Backlog
from .directory import Directory
from .sender import Leases
from .settings import DispatchSettings
from .vitals import Vitals

#: Below this many free places claiming waits: small claims cost as much as large ones.
_LEAST = 32


@attrs.define
class Source:
    """Keeps one lane's backlog filled from the store."""

    lane: Lane
    store: Deliveries
    backlog: Backlog
    directory: Directory
    leases: Leases
    vitals: Vitals
    settings: DispatchSettings
    clock: Clock
    worker: str
    _crowding: tuple[str, ...] = ()

    async def turn(self) -> bool:
        """Claim one batch; return whether there may be more to claim right away."""
        room = min(self.backlog.room(), self.settings.batch)
        if room < min(_LEAST, self.settings.batch):
            await self.backlog.wait_for_room()
            return True
        full = self.backlog.full()
        crowding, self._crowding = self._crowding, ()
        claims = await self.store.claim_due(
            self.lane,
            room,
            now=self.clock.now(),
            lease=self.settings.lease,
            worker=self.worker,
            exclude=[*full, *crowding],
        )
        if claims:
            failpoint("dlv.leased")
        if len(claims) >= room:
            # A full batch means a backlog: next time let the others through before those who fill it.
            shares = Counter(claim.subscriber_id for claim in claims)
            self._crowding = tuple(subscriber for subscriber, count in shares.items() if count > room // 4)
        held = []
        for claim in claims:
            view = await self.directory.view(claim.tenant, claim.version)
            endpoint = view.endpoints.get(claim.subscriber_id)
            if endpoint is None:
                held.append((claim, 1, False))
            else:
                held.append((claim, self.vitals.places(endpoint), endpoint.rate_limit is not None))
        for claim in claims:  # only now: a lease that is prolonged without a sender would never end
            self.leases.add(claim)
        self.backlog.add(held)
        return bool(claims) or bool(crowding)
