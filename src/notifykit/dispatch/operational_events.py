"""Operational events: what happens to a tenant's endpoints, deliveries and templates, published to the tenant.

``endpoint.failing``, ``endpoint.recovered``, ``endpoint.disabled``, ``delivery.exhausted``, ``template.failed``, and
what providers report (``receipts.py``) are delivered like any other event, to subscriptions that name them
(``endpoint.*``); a bare ``**`` means the business's own events.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b

import attrs

from ..models.delivery import Claim, Priority
from ..models.event import Event, StoredEvent
from ..policies.admit import admit, operational
from ..policies.plan import OPERATIONAL_TYPES
from .directory import Directory

#: So many failures of templates are remembered at the most, so that each is told once an hour.
_MOST = 1000


@attrs.define
class OperationalEvents:
    """Makes operational events for tenants that subscribe to them."""

    directory: Directory
    _told: set[str] = attrs.field(factory=set, init=False)

    def event(
        self, type_: str, tenant: str, data: Mapping[str, object], now: datetime, *, key: str | None = None
    ) -> StoredEvent | None:
        """Return the event, or ``None`` if no subscription of the tenant names its type.

        Args:
            key: Of several events with the same key one is stored.
        """
        view = self.directory.latest(tenant)
        if view is None or not view.wants(type_):
            return None
        its = Event(type=type_, data=data, priority=Priority.HIGH, idempotency_key=key)
        return operational(admit(its, None, tenant=tenant, now=now), data)

    def template_failed(self, claim: Claim, error: str, now: datetime) -> StoredEvent | None:
        """Return the event of a message that could not be made: one an hour for each tenant, type and channel.

        Processes do not know of each other's: the store leaves out those with the same key.
        """
        if claim.event_type in OPERATIONAL_TYPES:
            return None
        parts = f"{claim.tenant}\0{claim.event_type}\0{claim.channel}\0{now:%Y-%m-%dT%H}"
        key = f"template.failed:{blake2b(parts.encode(), digest_size=16).hexdigest()}"
        if key in self._told:
            return None
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told.add(key)
        data = {
            "event_type": claim.event_type,
            "channel": claim.channel,
            "error": error[:1000],
            "delivery_id": claim.delivery_id,
            "event_id": claim.event_id,
        }
        return self.event("template.failed", claim.tenant, data, now, key=key)

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
