"""May this claim be sent now?

Pure: the decision is a value before it is a write.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from ..models.circuit import OpenCircuit
from ..models.delivery import Claim, DigestEntry
from ..models.destination import Destination
from ..models.endpoint import EndpointState

#: How long a held delivery sleeps before a new decision is taken; resuming wakes it earlier.
HOLD = timedelta(minutes=5)


@attrs.frozen
class Send:
    """Make the attempt."""


@attrs.frozen
class Hold:
    """Not now: sleep until ``due_at`` and decide again."""

    due_at: datetime
    reason: str


@attrs.frozen
class Cancel:
    """Never: the delivery is cancelled."""

    reason: str


@attrs.frozen
class Expire:
    """Too late to be of use."""

    reason: str = "expired"


@attrs.frozen
class Suppress:
    """Never: the person does not want it, or cannot be reached."""

    reason: str


@attrs.frozen
class Join:
    """Not by itself: a digest collects it."""

    entry: DigestEntry


Decision = Send | Hold | Cancel | Expire | Suppress | Join

SEND = Send()


def decide(
    claim: Claim, destination: Destination | None, circuit: OpenCircuit | None = None, *, now: datetime
) -> Decision:
    """Decide whether ``claim`` is sent to ``destination`` at ``now``.

    Args:
        destination: ``None`` if there is none any more.
        circuit: The circuit of the destination, if it is open.
    """
    if destination is None:
        return Cancel("endpoint_deleted")
    if claim.expires_at is not None and claim.expires_at <= now:
        return Expire()
    if destination.state is EndpointState.ACTIVE:
        if circuit is not None and now < circuit.probe_at:
            return Hold(circuit.probe_at, failing_reason(destination))
        return SEND
    if destination.state is EndpointState.PAUSED:
        return Hold(now + HOLD, "endpoint_paused")
    return Cancel("endpoint_disabled")


def failing_reason(destination: Destination) -> str:
    """Return why deliveries to a destination are held while its circuit is open."""
    return "endpoint_failing" if destination.owns_circuit else "provider_failing"
