"""Claims due deliveries for one lane: retries, held ones that wake, and what other planners settled."""

from __future__ import annotations

import time
from datetime import timedelta

import anyio
import attrs

from ..errors import StoreError
from ..failpoints import failpoint
from ..models.delivery import Claim, DeliveryState, Lane
from ..policies.retry import Dice
from ..ports import Clock, Deliveries, Record
from .backlog import Backlog
from .directory import Directory
from .leases import Leases
from .recorder import Recorder
from .rounds import Found, Rounds
from .settings import DispatchSettings
from .vitals import Vitals

#: Below this many free places claiming waits: small claims cost as much as large ones.
_LEAST = 32
#: A delivery whose worker has died this often is a suspect, and is sent with no other suspect beside it.
_SUSPECT = 2
#: How many seconds a suspect waits for results to be written.
_FLUSH = 1.0
#: How long suspects that are put back stay away, times how many they are.
_APART = timedelta(milliseconds=100)


@attrs.define
class Source:
    """Keeps one lane's backlog filled from the store."""

    lane: Lane
    store: Deliveries
    backlog: Backlog
    directory: Directory
    leases: Leases
    vitals: Vitals
    recorder: Recorder
    settings: DispatchSettings
    clock: Clock
    worker: str
    dice: Dice
    _rounds: Rounds = attrs.field(init=False)

    @_rounds.default
    def _first_round(self) -> Rounds:
        return Rounds(self.settings.batch)

    async def turn(self) -> Found:
        """Claim one batch."""
        room = self.backlog.room()
        if room < min(_LEAST, self.settings.batch):
            await self.backlog.wait_for_room()
            return Found.MUCH
        room = min(room, self._rounds.portion)  # a portion may be small although there is room: never wait for that
        full = self.backlog.full()
        standing_back = self._rounds.standing_back
        started = time.monotonic()
        claims = await self.store.claim_due(
            self.lane,
            room,
            now=self.clock.now(),
            lease=self.settings.lease,
            worker=self.worker,
            exclude=[*full, *standing_back],
        )
        if claims:
            failpoint("dlv.leased")
        self._rounds.note((claim.subscriber_id for claim in claims), limit=room, took=time.monotonic() - started)
        claims = await self._apart(claims)
        try:
            endpoints = await self.directory.endpoints_of(claims)
        except StoreError:
            now = self.clock.now()
            for claim in claims:  # to lose them would count as if they had been tried
                self.leases.add(claim)
                self.recorder.add(Record(claim.delivery_id, claim.fence, DeliveryState.PENDING, None, now, now, None))
            raise
        held = []
        for claim, endpoint in zip(claims, endpoints, strict=True):
            if endpoint is None:
                held.append((claim, 1, False))
            else:
                held.append((claim, self.vitals.places(endpoint), endpoint.rate_limit is not None))
        for claim in claims:  # only now: a lease that is prolonged without a sender would never end
            self.leases.add(claim)
        self.backlog.add(*held)
        return Found.MUCH if claims or standing_back else Found.NOTHING

    async def _apart(self, claims: list[Claim]) -> list[Claim]:
        """Keep one suspect in this process at the most, and put the others back for a random moment.

        A delivery that kills its worker takes down what was claimed beside it.  Alone, it is
        counted alone, and those that only stood beside it arrive.
        """
        suspects = [claim for claim in claims if claim.abandoned >= _SUSPECT]
        if suspects and not any(claim.abandoned >= _SUSPECT for claim in self.leases.held.values()):
            suspects.pop()
            with anyio.move_on_after(_FLUSH):
                await self.recorder.flush()  # what was sent and is not written yet would die with it
        if not suspects:
            return claims
        now = self.clock.now()
        # Written before the one that stays is sent: a death must not count for those that went.
        await self.store.record(
            [
                Record(
                    claim.delivery_id,
                    claim.fence,
                    DeliveryState.PENDING,
                    None,
                    now + _APART * len(suspects) * self.dice(),
                    now,
                    None,
                )
                for claim in suspects
            ]
        )
        away = {claim.delivery_id for claim in suspects}
        return [claim for claim in claims if claim.delivery_id not in away]
