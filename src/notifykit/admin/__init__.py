"""What an operator does: endpoints, subscriptions, deliveries and events of a tenant, and the inboxes of people."""

from __future__ import annotations

from ..policies.unmatchable import SubscriptionWarning
from .changes import Change, Changes, Cursor
from .deliveries import Deliveries
from .endpoints import Egress, EndpointOptions, Endpoints
from .events import Events, Explanation
from .inbox import RecipientInbox
from .subscriptions import SubscriptionChanges, Subscriptions

__all__ = [
    "Change",
    "Changes",
    "Cursor",
    "Deliveries",
    "Egress",
    "EndpointOptions",
    "Endpoints",
    "Events",
    "Explanation",
    "RecipientInbox",
    "SubscriptionChanges",
    "SubscriptionWarning",
    "Subscriptions",
]
