"""Whether an endpoint has been answering of late."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class OpenCircuit:
    """The circuit of an endpoint that keeps failing: its deliveries wait between probes.

    A store keeps one for each open circuit and none for those that are closed.

    Attributes:
        since: When it opened; every probe since then has failed.
        probe_at: When the next attempt may be made.
        probes: How many probes have failed.
        reason: How the last attempt failed.
        version: How often the circuit has been saved; 0 until it is.
    """

    endpoint_id: str
    tenant: str
    since: datetime
    probe_at: datetime
    probes: int = 0
    reason: str = ""
    version: int = 0
