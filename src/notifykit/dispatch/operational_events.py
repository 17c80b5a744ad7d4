"""Operational events: what happens to a tenant's endpoints and deliveries, published to the tenant.

``endpoint.failing``, ``endpoint.recovered``, ``endpoint.disabled``, ``delivery.exhausted``, and what providers report
(``receipts.py``) are delivered like any other event, to subscriptions that name them (``endpoint.*``); a bare ``**``
means the business's own events.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from ..models.delivery import Claim, Priority
from ..models.event import Event, StoredEvent
from ..policies.admit import admit
from ..policies.plan import OPERATIONAL, OPERATIONAL_TYPES
from .directory import Directory


@attrs.define
class OperationalEvents:
    """Makes operational events for tenants that subscribe to them."""

    directory: Directory

    def event(self, type_: str, tenant: str, data: Mapping[str, object], now: datetime) -> StoredEvent | None:
        """Return the event, or ``None`` if no subscription of the tenant names its type."""
        view = self.directory.latest(tenant)
        if view is None or not view.wants(type_):
            return None
        event = admit(Event(type=type_, data=data, priority=Priority.HIGH), None, tenant=tenant, now=now)
        return event._replace(topic=OPERATIONAL)

    def exhausted(self, claim: Claim, reason: str, now: datetime) -> StoredEvent | None:
        """Return the event of a delivery that is given up, unless that was an operational event itself."""
        if claim.event_type in OPERATIONAL_TYPES:
            return None
        data = {
            "delivery_id": claim.delivery_id,
            "event_id": claim.event_id,
            "event_type": claim.event_type,
            "endpoint_id" if claim.address is None else "subscriber_id": claim.subscriber_id,
            "attempts": claim.attempt,
            "reason": reason,
        }
        return self.event("delivery.exhausted", claim.tenant, data, now)
