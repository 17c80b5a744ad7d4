"""When a circuit opens, and how it closes again.

Pure: an outcome and an open circuit go in, the circuit from now on comes out.  Deliveries
to a destination with an open circuit wait until the next probe and use up no attempts.  A
probe is one attempt at a time; each one that succeeds doubles how many may be in flight, until the
destination's own limit is reached and the circuit closes.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

import attrs

from ..models.circuit import OpenCircuit
from ..models.destination import Destination
from ..models.outcome import (
    Accepted,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Unsent,
)

#: A circuit opens after this many failures in a row …
IN_A_ROW = 10
#: … or when at least half of the last attempts failed, once there are this many.
WINDOW, LEAST = 50, 20

#: The circuit of an account that has not been probed for so long is forgotten.
_ABANDONED = timedelta(days=1)
_FIRST_PROBE, _LONGEST = timedelta(seconds=10), timedelta(minutes=5)


@attrs.define
class FailureWindow:
    """What one process has seen lately of the attempts that share a circuit.

    Attributes:
        row: How many of the last attempts failed in a row.
        allowed: How many attempts may be in flight while the circuit is being closed; ``None`` is the
            destination's own limit.
    """

    recent: deque[bool] = attrs.field(factory=lambda: deque(maxlen=WINDOW))
    row: int = 0
    allowed: int | None = None

    def failed(self) -> bool:
        """Tell whether what was seen opens the circuit."""
        if self.row >= IN_A_ROW:
            return True
        return len(self.recent) >= LEAST and 2 * self.recent.count(False) >= len(self.recent)


def is_success(outcome: Outcome) -> bool | None:
    """Return whether an outcome counts as a success (``True``), as a failure, or not at all (``None``)."""
    if isinstance(outcome, Accepted):
        return True
    # The receiver refused this one message, which says nothing about the next; or nothing was sent.
    if isinstance(outcome, Permanent | BadRecipient | Unsent) or _effect(outcome) is CircuitEffect.NONE:
        return None
    return False


def _effect(outcome: Outcome) -> CircuitEffect:
    return outcome.circuit if isinstance(outcome, Transient | Throttled) else CircuitEffect.COUNT


def note(
    window: FailureWindow, outcome: Outcome, destination: Destination, circuit: OpenCircuit | None, *, now: datetime
) -> OpenCircuit | None:
    """Take an outcome into ``window`` and return the circuit from now on (``None``: it is closed)."""
    good = is_success(outcome)
    if good is None or destination.circuit_key is None:
        return circuit
    window.recent.append(good)
    if not good:
        window.row += 1
        if circuit is None and not window.failed() and _effect(outcome) is not CircuitEffect.OPEN:
            return None
        return _reopened(window, outcome, destination, circuit, now)
    window.row = 0
    if circuit is None:
        return None
    window.allowed = 2 * (window.allowed or 1)
    if window.allowed < destination.max_in_flight:
        return circuit
    window.allowed = None
    window.recent.clear()
    return None


def is_abandoned(circuit: OpenCircuit, now: datetime) -> bool:
    """Tell whether nothing is sent to an account with an open circuit any more, such as after a change of its key."""
    return not circuit.tenant and now - circuit.probe_at > _ABANDONED


def _reopened(
    window: FailureWindow, outcome: Outcome, destination: Destination, circuit: OpenCircuit | None, now: datetime
) -> OpenCircuit:
    window.allowed = 1
    window.recent.clear()
    reason = "" if isinstance(outcome, Accepted) else outcome.reason
    if circuit is None:
        key = destination.circuit_key
        assert key is not None
        tenant = destination.tenant if destination.owns_circuit else ""
        return OpenCircuit(key=key, tenant=tenant, since=now, probe_at=now + _FIRST_PROBE, reason=reason)
    if now < circuit.probe_at:
        return circuit  # an attempt that was made before the circuit opened
    probes = circuit.probes + 1
    pause = min(_FIRST_PROBE * 2 ** min(probes, 10), _LONGEST)
    return attrs.evolve(circuit, probes=probes, probe_at=now + pause, reason=reason)
