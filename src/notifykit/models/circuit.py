"""Whether an endpoint has been answering of late."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class OpenCircuit:
    """An endpoint that fails: deliveries to it are parked between probes.

    A store keeps one for each failing endpoint and none for those that answer.

    Attributes:
        since: When deliveries were first parked; failing all the while since then.
        probe_at: When the next attempt may be made, to see whether it has recovered.
        probes: How many probes have failed.
        reason: How the last attempt failed.
        version: How often the ailment has been saved; 0 until it is.
    """

    endpoint_id: str
    tenant: str
    since: datetime
    probe_at: datetime
    probes: int = 0
    reason: str = ""
    version: int = 0
