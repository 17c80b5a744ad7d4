"""What an operator does: endpoints, subscriptions, deliveries and events of a tenant."""

from __future__ import annotations

from .changes import Change, Changes, Cursor
from .deliveries import Deliveries
from .endpoints import Egress, Endpoints
from .events import Events, Explanation
from .subscriptions import Subscriptions

__all__ = [
    "Change",
    "Changes",
    "Cursor",
    "Deliveries",
    "Egress",
    "Endpoints",
    "Events",
    "Explanation",
    "Subscriptions",
]
