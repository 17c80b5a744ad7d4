"""What is written of a claim that is not sent."""

from __future__ import annotations

from datetime import datetime

from ...models.delivery import Claim, DeliveryState
from ...policies.decide import Cancel, Decision, Expire, Hold, Join, Suppress
from ...policies.digest import DIGEST
from ...ports import Record
from ...telemetry import DeliveryNotSent

_ENDS = {Cancel: DeliveryState.CANCELLED, Expire: DeliveryState.EXPIRED, Suppress: DeliveryState.SUPPRESSED}


def record_of(claim: Claim, decision: Decision, now: datetime) -> Record:
    """Return the record of a decision other than to send."""
    match decision:
        case Hold(due_at, reason):
            return Record(claim.delivery_id, claim.fence, DeliveryState.HELD, reason, due_at, now, None)
        case Join(entry):
            return Record(claim.delivery_id, claim.fence, DeliveryState.HELD, DIGEST, None, now, None, digest=entry)
        case Cancel(reason) | Expire(reason) | Suppress(reason):
            return Record(claim.delivery_id, claim.fence, _ENDS[type(decision)], reason, None, now, None)
        case _:
            raise AssertionError(decision)


def not_sent(claim: Claim, record: Record) -> DeliveryNotSent:
    """Return what telemetry is told once the record is written."""
    return DeliveryNotSent(
        delivery_id=claim.delivery_id,
        event_id=claim.event_id,
        tenant=claim.tenant,
        decision=record.state.value,
        reason=record.reason,
    )
