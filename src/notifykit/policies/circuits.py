"""When a circuit opens, and how it closes again.

Pure: an outcome and an open circuit go in, the circuit from now on comes out.  Deliveries
to an endpoint with an open circuit wait until the next probe and use up no attempts.  A
probe is one attempt at a time; each one that succeeds doubles how many may be in flight, until the
endpoint's own limit is reached and the circuit closes.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import attrs

from ..models.circuit import OpenCircuit
from ..models.endpoint import Endpoint
from ..models.outcome import Accepted, BadRecipient, Outcome, Permanent, Unsent

#: Failing after this many failures in a row …
IN_A_ROW = 10
#: … or when at least half of the last ones failed, once there are this many.
WINDOW, LEAST = 50, 20

_FIRST_PROBE, _LONGEST = timedelta(seconds=10), timedelta(minutes=5)


@attrs.define
class FailureWindow:
    """What one process has seen of an endpoint lately.

    Attributes:
        allowed: How many attempts may be open while the endpoint is let back; ``None`` is its own cap.
    """

    recent: deque[bool] = attrs.field(factory=lambda: deque(maxlen=WINDOW))
    row: int = 0
    allowed: int | None = None

    def failed(self) -> bool:
        """Tell whether what was seen makes the endpoint a failing one."""
        if self.row >= IN_A_ROW:
            return True
        return len(self.recent) >= LEAST and 2 * self.recent.count(False) >= len(self.recent)


def speaks(outcome: Outcome) -> bool | None:
    """Return whether an outcome speaks for an endpoint's health, against it, or not at all (``None``)."""
    if isinstance(outcome, Accepted):
        return True
    # The endpoint answered and refused this one message, which says nothing about the next; or it was not asked.
    return None if isinstance(outcome, Permanent | BadRecipient | Unsent) else False


def note(
    pulse: FailureWindow, outcome: Outcome, endpoint: Endpoint, circuit: OpenCircuit | None, *, now: datetime
) -> OpenCircuit | None:
    """Take an outcome into ``pulse`` and return the circuit from now on (``None``: it is closed)."""
    good = speaks(outcome)
    if good is None:
        return circuit
    pulse.recent.append(good)
    if not good:
        pulse.row += 1
        if circuit is None and not pulse.failed():
            return None
        return _worse(pulse, outcome, endpoint, circuit, now)
    pulse.row = 0
    if circuit is None:
        return None
    pulse.allowed = 2 * (pulse.allowed or 1)
    if pulse.allowed < endpoint.max_in_flight:
        return circuit
    pulse.allowed = None
    pulse.recent.clear()
    return None


def _worse(
    pulse: FailureWindow, outcome: Outcome, endpoint: Endpoint, circuit: OpenCircuit | None, now: datetime
) -> OpenCircuit:
    pulse.allowed = 1
    pulse.recent.clear()
    reason = "" if isinstance(outcome, Accepted) else outcome.reason
    if circuit is None:
        return OpenCircuit(
            endpoint_id=endpoint.id, tenant=endpoint.tenant, since=now, probe_at=now + _FIRST_PROBE, reason=reason
        )
    if now < circuit.probe_at:
        return circuit  # an attempt from before it was parked
    probes = circuit.probes + 1
    pause = min(_FIRST_PROBE * 2 ** min(probes, 10), _LONGEST)
    return attrs.evolve(circuit, probes=probes, probe_at=now + pause, reason=reason)
