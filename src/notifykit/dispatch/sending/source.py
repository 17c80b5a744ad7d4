"""Where a lane's claims come from: due deliveries, retries, held ones that wake, and what other planners settled."""

from __future__ import annotations

import math
import time
from datetime import timedelta
from functools import partial
from typing import Protocol

import anyio
import attrs

from ...errors import StoreError
from ...failpoints import failpoint
from ...models.delivery import Claim, DeliveryState, Lane
from ...models.destination import Destination
from ...policies.decide import failing_reason
from ...ports import Record
from ...telemetry import LoopFailed, why
from ..context import Context
from ..directory import Directory
from ..people import People
from ..round_robin import PollResult, RoundRobin
from .backlog import Backlog, Held
from .circuits import Circuits
from .digests import DigestDecisions
from .leases import Leases
from .recorder import Recorder
from .records import not_sent, record_of

#: Below this many free places, and below a part of all, claiming waits: small claims cost as much as large ones.
_LEAST, _LEAST_PART = 32, 4
#: How many destinations that have answered are named when only these are asked for, and the seconds between two
#: such claims: they read whatever is due.
_PROVEN, _PROVEN_EVERY = 1000, 0.2
#: Seconds that a claim may take while short transactions wait for it.
_LATENCY_TARGET = 0.0015
#: A delivery whose worker has died this often is a suspect, and is sent with no other suspect beside it.
_SUSPECT = 2
#: How many seconds a suspect waits for results to be written.
_FLUSH = 1.0
#: How long suspects that are put back stay away, times how many they are.
_APART = timedelta(milliseconds=100)
#: How long deliveries wait whose tenant cannot be read.
_UNREADABLE = timedelta(seconds=10)


class Source(Protocol):
    """Keeps one lane's backlog filled: from the store, or from a broker whose tickets are claimed."""

    @property
    def lane(self) -> Lane: ...

    @property
    def backlog(self) -> Backlog: ...

    async def turn(self) -> PollResult:
        """Claim one batch, if there is room; a call that waits for room returns when there is some."""
        ...


@attrs.define
class StoreSource:
    """Keeps one lane's backlog filled from the store."""

    lane: Lane
    context: Context
    backlog: Backlog
    directory: Directory
    people: People
    leases: Leases
    circuits: Circuits
    recorder: Recorder
    _tenants: RoundRobin = attrs.field(init=False)
    _subscribers: RoundRobin = attrs.field(init=False)
    digests: DigestDecisions = attrs.field(init=False)
    _proven_at: float = attrs.field(init=False, default=-math.inf)
    #: The subscriber whose delivery is the probe of an open circuit, by the circuit's key.
    _probed: dict[str, tuple[str, str]] = attrs.field(init=False, factory=dict)

    @_tenants.default
    @_subscribers.default
    def _first_round_robin(self) -> RoundRobin:
        return RoundRobin(self.context.settings.batch, self.context.dispatchers)

    @digests.default
    def _decisions_about_digests(self) -> DigestDecisions:
        return DigestDecisions(self.context, self.people)

    @property
    def _least(self) -> int:
        settings = self.context.settings
        return min(_LEAST, settings.batch, max(1, settings.lane(self.lane).prefetch // _LEAST_PART))

    async def turn(self) -> PollResult:
        room = self.backlog.room()
        if room < self._least:
            await self.backlog.wait_for_room()
            return PollResult.MUCH
        proven = self.backlog.proven(_PROVEN)
        if proven is not None:
            if not proven or time.monotonic() - self._proven_at < _PROVEN_EVERY:
                return PollResult.NOTHING
            self._proven_at = time.monotonic()
        full_tenants = self.backlog.full_tenants()
        throttled = self._tenants.throttled or (() if full_tenants else self._subscribers.throttled)
        claims = await self._claim(room, proven, full_tenants)
        self._hold(await self._sendable(claims))
        return PollResult.MUCH if claims or throttled else PollResult.NOTHING

    async def _claim(self, room: int, proven: list[str] | None, full_tenants: list[str]) -> list[Claim]:
        """Claim in turn what there is room for."""
        # Half of the room is left for claims of other tenants; a batch may be small for other reasons, too.
        limit = min(max(self._least, room // 2), self._tenants.batch_size, self.context.settings.batch)
        if self.recorder.hurried():
            limit = min(limit, max(self._least, self._tenants.fits(_LATENCY_TARGET)))
        self._forget_probes()
        exclude_tenants = [*full_tenants, *self._tenants.throttled]
        started = time.monotonic()
        claims = await self.context.store.claim(
            self.lane,
            limit,
            now=self.context.clock.now(),
            lease=self.context.settings.lease,
            worker=self.context.worker,
            exclude=[
                *self.backlog.full(),
                *self._subscribers.throttled,
                *(probed[1] for probed in self._probed.values()),
            ],
            exclude_tenants=exclude_tenants,
            only=proven,
        )
        if claims:
            failpoint("dlv.leased")
        took = time.monotonic() - started
        if proven is None:
            self._tenants.note((claim.tenant for claim in claims), limit=limit, took=took)
            if not exclude_tenants:  # of excluded tenants no subscriber has had its turn
                self._subscribers.note((claim.subscriber_id for claim in claims), limit=limit, took=took)
        return await self._apart(claims)

    def _forget_probes(self) -> None:
        """Forget the probes of circuits that are over."""
        self._probed = {
            key: probed
            for key, probed in self._probed.items()
            if self.circuits.is_probed(key) and self.backlog.holds(*probed)
        }

    async def _sendable(self, claims: list[Claim]) -> list[tuple[Claim, Destination | Exception | None]]:
        """Return the claims that may be sent now, as far as that is known of people's, with their destinations."""
        try:
            claims = await self._decided(claims)
            return list(zip(claims, await self.directory.destinations_of(claims), strict=True))
        except StoreError:
            now = self.context.clock.now()
            for claim in claims:  # to lose them would count as if they had been tried
                self.leases.add(claim)
                self.recorder.add(Record(claim.delivery_id, claim.fence, DeliveryState.PENDING, None, now, now, None))
            raise

    def _hold(self, claims: list[tuple[Claim, Destination | Exception | None]]) -> None:
        """Hand claims to the backlog, as far as their destinations are known and may be sent to now."""
        held: list[Held] = []
        for claim, destination in claims:
            if isinstance(destination, Exception):
                self._put_back(claim, destination)
            elif destination is None:
                held.append((claim, 1, False))
            else:
                places, key = self.circuits.places(destination), destination.circuit_key
                if key is not None and self.circuits.is_probed(key):
                    if key in self._probed or self.backlog.holds(claim.tenant, claim.subscriber_id):
                        self._hold_back(claim, destination)
                        continue
                    self._probed[key] = claim.tenant, claim.subscriber_id
                held.append((claim, places, destination.rate_limit is not None))
        for claim, _, _ in held:  # only now: a lease that is prolonged without a sender would never end
            self.leases.add(claim)
        self.backlog.add(*held)

    async def _decided(self, claims: list[Claim]) -> list[Claim]:
        """Decide anew about people's deliveries, write what is not sent now, and return the other claims."""
        now = self.context.clock.now()
        if any(claim.digest is not None for claim in claims):
            claims, decisions = await self.digests.decide(claims, now)
        else:
            decisions = await self.people.decide(claims, now)
        for claim in claims:
            if (decision := decisions.get(claim.delivery_id)) is not None:
                record = record_of(claim, decision, now)
                self.recorder.add(record, partial(self.context.emit, not_sent(claim, record)))
        return [claim for claim in claims if claim.delivery_id not in decisions] if decisions else claims

    def _hold_back(self, claim: Claim, destination: Destination) -> None:
        """Put a claim back until the next probe of its circuit, or until the one that is sent now is over.

        A probe may last as long as the destination's timeout.  Claims that waited behind it in this process would take
        the room of other subscribers' claims.
        """
        now = self.context.clock.now()
        circuit = self.circuits.circuit(destination.circuit_key)
        next_probe = now if circuit is None else circuit.probe_at
        due_at = next_probe if next_probe > now else now + destination.timeout
        reason = failing_reason(destination)
        self.recorder.add(Record(claim.delivery_id, claim.fence, DeliveryState.HELD, reason, due_at, now, None))

    def _put_back(self, claim: Claim, error: Exception) -> None:
        """Let a claim wait whose tenant cannot be read; nothing is counted, and the others go on."""
        now = self.context.clock.now()
        due_at = now + _UNREADABLE
        self.recorder.add(Record(claim.delivery_id, claim.fence, DeliveryState.PENDING, None, due_at, now, None))
        told = f"tenant {claim.tenant}: {why(error)}"
        self.context.emit(LoopFailed(loop=f"claim {self.lane}", error=told, pause=_UNREADABLE))

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
        now = self.context.clock.now()
        # Written before the one that stays is sent: a death must not count for those that went.
        await self.context.store.record(
            [
                Record(
                    claim.delivery_id,
                    claim.fence,
                    DeliveryState.PENDING,
                    None,
                    now + _APART * len(suspects) * self.context.rng(),
                    now,
                    None,
                )
                for claim in suspects
            ]
        )
        away = {claim.delivery_id for claim in suspects}
        return [claim for claim in claims if claim.delivery_id not in away]
