"""What an operator does: endpoints, subscriptions, recipients, inboxes, deliveries and events of a tenant."""

from __future__ import annotations

from ..policies.explain import StepExplanation
from ..policies.unmatchable import SubscriptionWarning
from .api_keys import ApiKeys, IssuedKey
from .changes import Change, Changes, Cursor
from .deliveries import Deliveries
from .endpoints import Egress, EndpointOptions, Endpoints
from .events import Events, Explanation
from .explain import PersonExplanation
from .inbox import RecipientInbox
from .preferences import Cell, Preferences, TenantSettings
from .recipient_changes import RecipientFields
from .recipient_import import ImportReport, LineProblem
from .recipients import Recipients
from .subscriptions import SubscriptionChanges, Subscriptions

__all__ = [
    "ApiKeys",
    "Cell",
    "Change",
    "Changes",
    "Cursor",
    "Deliveries",
    "Egress",
    "EndpointOptions",
    "Endpoints",
    "Events",
    "Explanation",
    "ImportReport",
    "IssuedKey",
    "LineProblem",
    "PersonExplanation",
    "Preferences",
    "RecipientFields",
    "RecipientInbox",
    "Recipients",
    "StepExplanation",
    "SubscriptionChanges",
    "SubscriptionWarning",
    "Subscriptions",
    "TenantSettings",
]
