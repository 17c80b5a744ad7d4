"""From a claim to a record: decide, send, take the next step.

The tasks of a pool take from the backlog: no task, lock or timer is made for a single delivery.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ...errors import StoreError, TemplateError
from ...failpoints import failpoint
from ...models.delivery import Attempt, Claim, DeliveryState, Lane
from ...models.destination import Destination
from ...models.event import StoredEvent
from ...models.ids import is_for_person
from ...models.outcome import (
    Accepted,
    BadRecipient,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
    Unsent,
    outcome_problem,
    recordable,
)
from ...policies.decide import HOLD, SEND, Decision, Hold, decide
from ...policies.retry import Complete, DeadLetter, NextStep, PutBack, RetryAt, may_repeat, next_step
from ...ports import Channel, Record, RoutesDeliveries
from ...telemetry import ChannelFailed, DeliveryAttempted, LoopFailed, RenderingFailed, why
from ..context import Context
from ..directory import Directory
from ..operational_events import OperationalEvents
from .backlog import Backlog
from .circuits import Circuits
from .eager import Written
from .leases import Leases
from .recorder import Recorder
from .records import not_sent, record_of

_NAMES: Mapping[type[Outcome], str] = {
    Accepted: "accepted",
    Transient: "transient",
    Throttled: "throttled",
    Permanent: "permanent",
    BadRecipient: "bad_recipient",
    Uncertain: "uncertain",
}
_DECISIONS = {Complete: "complete", RetryAt: "retry", DeadLetter: "dead_letter"}
#: Bytes of an answer that are stored.
_KEPT = 1024
#: How long a delivery waits whose sending failed with an unexpected error.
_FAULT = timedelta(minutes=1)
#: How long a delivery waits whose account cannot be read now.
_UNREADABLE = timedelta(seconds=1)


@dataclass(eq=False)
class Sender:
    """Sends the claims of one lane.

    Attributes:
        wants: Whether telemetry of every attempt is wanted.
        invalidate: Called with a destination whose address is gone for good, and the reason.
        next_of_group: Called when the end of a delivery with an ordering key is written: another one may start.
        short: Called with the reason when this process lacks what every attempt needs.
        margin: How much longer than an attempt may take its lease must be.
    """

    lane: Lane
    context: Context
    backlog: Backlog
    channels: Mapping[str, Channel]
    directory: Directory
    recorder: Recorder
    leases: Leases
    circuits: Circuits
    operational: OperationalEvents
    wants: Callable[[], bool]
    invalidate: Callable[[Destination, str], None]
    next_of_group: Callable[[], None]
    short: Callable[[str], None]
    margin: timedelta

    def __post_init__(self) -> None:
        channel = self.channels.get(self.lane.channel)
        self._router = channel if isinstance(channel, RoutesDeliveries) else None
        # Read for every delivery.
        self._now, self._rng, self._worker = self.context.clock.now, self.context.rng, self.context.worker

    async def work(self, most: int = sys.maxsize) -> None:
        """Send one claim after the other, waiting for each, as long as any may be sent now and at most so many."""
        self.backlog.arrived()
        for _ in range(most):
            turn = self.backlog.take()
            if turn is None:
                return
            answered: bool | None = None
            try:
                answered = await self._deliver(turn.claim)
            except Exception as error:  # an error of one delivery does not stop the lane
                text = f"{turn.claim.delivery_id}: {why(error)}"
                self.context.emit(LoopFailed(loop=f"send {self.lane}", error=text, pause=_FAULT))
                self.release(turn.claim, self._now(), pause=_FAULT)
            finally:
                self.backlog.done(turn, answered)

    async def _deliver(self, claim: Claim) -> bool | None:
        """Send a claim; return whether its destination has answered, or ``None`` if it was not asked."""
        started = self._now()
        destination = self.directory.destination(claim)
        if destination is None:
            if is_for_person(claim.subscription_id, claim.address):
                self.release(claim, started)  # its destination made room for others: the next claim reads it again
                return None
            try:
                destination = await self.directory.find_destination(claim)
            except StoreError:
                self.release(claim, started)
                return None
        if self._router is not None and destination is not None and decide(claim, destination, now=started) is SEND:
            try:
                routed = await self._router.route(claim, destination, self.circuits, now=started)
            except StoreError:
                self.release(claim, started, pause=_UNREADABLE)
                return None
            if isinstance(routed, Hold):
                self._not_sent(claim, routed, started)
                return None
            destination = routed
        circuit = None if destination is None else self.circuits.circuit(destination.circuit_key)
        decision = decide(claim, destination, circuit, now=started)
        if decision is not SEND or destination is None:
            self._not_sent(claim, decision, started)
            return None
        if self.leases.until(claim) - started < destination.timeout + self.margin:
            self.release(claim, started)  # it could not be extended: it may run out before the result is written
            return None
        failpoint("att.started")
        outcome = await self._send(claim, destination, started)
        failpoint("att.answered")
        finished = self._now()
        self.circuits.note(destination, outcome, finished)
        step = next_step(
            outcome,
            tries=claim.tries + 1,
            policy=destination.retry,
            now=finished,
            rng=self._rng,
            repeats=may_repeat(claim.channel, claim.details.purpose),
        )
        if isinstance(step, PutBack):
            if isinstance(outcome, Unsent) and outcome.pauses:
                self.short(outcome.reason)
            state = DeliveryState.HELD if step.is_held else DeliveryState.PENDING
            self._write_unsent(
                claim, Record(claim.delivery_id, claim.fence, state, step.reason, step.due_at, finished, None)
            )
            return None
        self._record(claim, destination, outcome, step, started, finished)
        return outcome.answer.status is not None or isinstance(outcome, Accepted)

    async def _send(self, claim: Claim, destination: Destination, now: datetime) -> Outcome:
        channel = self.channels.get(claim.channel)
        if channel is None:
            return Transient(reason="no_channel")
        try:
            outcome = await channel.send(claim, destination, now=now)
            problem = outcome_problem(outcome)
        except TemplateError as error:
            self.context.emit(
                RenderingFailed(
                    channel=claim.channel,
                    delivery_id=claim.delivery_id,
                    event_type=claim.event_type,
                    tenant=claim.tenant,
                    error=str(error),
                )
            )
            await self._tell_tenant(self.operational.template_failed(claim, str(error), now))
            return Unsent(reason="template_failed", hold=HOLD)
        except Exception as error:  # a bug in a channel must not stop the lane
            problem = f"{type(error).__name__}: {error}"
        if problem is None:
            return recordable(outcome)
        self.context.emit(ChannelFailed(channel=claim.channel, delivery_id=claim.delivery_id, error=problem))
        return Transient(reason="channel_error")

    async def _tell_tenant(self, event: StoredEvent | None) -> None:
        if event is not None:
            try:
                await self.context.store.append([event])
            except StoreError as error:  # telemetry has told it
                self.context.emit(LoopFailed(loop=f"send {self.lane}", error=why(error), pause=timedelta(0)))

    def _record(
        self,
        claim: Claim,
        destination: Destination,
        outcome: Outcome,
        step: NextStep,
        started: datetime,
        finished: datetime,
    ) -> None:
        answer = outcome.answer
        why = None if isinstance(outcome, Accepted) else outcome.reason
        state = DeliveryState.DELIVERED
        reason: str | None = None
        due_at: datetime | None = None
        event: StoredEvent | None = None
        match step:
            case Complete():
                pass
            case RetryAt(due_at=due_at, reason=reason):
                state = DeliveryState.PENDING
            case DeadLetter(reason=reason, invalidate=invalidate):
                state = DeliveryState.DEAD
                event = self.operational.exhausted(claim, reason, finished)
                if invalidate:
                    self.invalidate(destination, reason)
        attempt = Attempt(
            claim.delivery_id,
            claim.attempt,
            started,
            finished - started,
            _NAMES[type(outcome)],
            why,
            answer.status,
            due_at,
            answer.body[:_KEPT],
            self._worker,
            answer.reference,
            None if destination.owns_circuit else destination.circuit_key,
            answer.cost,
        )
        in_group = claim.ordering_key is not None and state is not DeliveryState.PENDING
        written = self._when_written(claim, attempt, step, finished, in_group) if in_group or self.wants() else None
        self.recorder.add(
            Record(claim.delivery_id, claim.fence, state, reason, due_at, finished, attempt, event), written
        )

    def _when_written(
        self, claim: Claim, attempt: Attempt, step: NextStep, finished: datetime, in_group: bool
    ) -> Written:
        def written() -> None:
            if in_group:
                self.next_of_group()
            if self.wants():
                self.context.emit(self._attempted(claim, attempt, step, finished))

        return written

    def _attempted(self, claim: Claim, attempt: Attempt, step: NextStep, finished: datetime) -> DeliveryAttempted:
        return DeliveryAttempted(
            delivery_id=claim.delivery_id,
            event_id=claim.event_id,
            event_type=claim.event_type,
            tenant=claim.tenant,
            subscriber_id=claim.subscriber_id,
            channel=claim.channel,
            lane=str(self.lane),
            attempt=claim.attempt,
            outcome=attempt.outcome,
            reason=attempt.reason,
            status=attempt.status,
            decision=_DECISIONS[type(step)],
            due_in=None if attempt.retry_at is None else attempt.retry_at - finished,
            took=attempt.took,
            waited=max(attempt.started_at - claim.published_at, timedelta(0)),
            account=attempt.account,
            trace=claim.details.trace,
            finished_at=finished,
        )

    def _not_sent(self, claim: Claim, decision: Decision, now: datetime) -> None:
        self._write_unsent(claim, record_of(claim, decision, now))

    def _write_unsent(self, claim: Claim, record: Record) -> None:
        event = not_sent(claim, record)

        def written() -> None:
            if claim.ordering_key is not None and record.state not in (DeliveryState.HELD, DeliveryState.PENDING):
                self.next_of_group()
            self.context.emit(event)

        self.recorder.add(record, written)

    def release(self, claim: Claim, now: datetime, *, pause: timedelta = timedelta(0)) -> None:
        """Give a claim back unsent: due again at once or after ``pause``, nothing counted."""
        self.recorder.add(Record(claim.delivery_id, claim.fence, DeliveryState.PENDING, None, now + pause, now, None))
