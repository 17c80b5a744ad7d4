"""Circuits: destinations that keep failing are not sent to until a probe succeeds."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class OpenCircuit:
    """The circuit of an endpoint or a provider's account that keeps failing: its deliveries wait between probes.

    A store keeps one for each open circuit and none for those that are closed.

    Attributes:
        key: The endpoint's id (``end_…``), or the name of a provider's account, which does not begin like that.
        tenant: Of the endpoint; empty for an account, which all tenants share.
        since: When it opened; every probe since then has failed.
        probe_at: When the next attempt may be made.
        probes: How many probes have failed.
        reason: How the last attempt failed.
        version: How often the circuit has been saved; 0 until it is.
    """

    key: str
    tenant: str
    since: datetime
    probe_at: datetime
    probes: int = 0
    reason: str = ""
    version: int = 0
