"""What an operator does: endpoints, subscriptions, recipients, inboxes, deliveries and events of a tenant."""

from __future__ import annotations

from ..policies.explain import StepExplanation
from ..policies.keywords import Keyword
from ..policies.unmatchable import SubscriptionWarning
from ..vault import PageTokens, UnsubscribeTokens
from .api_keys import ApiKeys, IssuedKey
from .audit import AuditFilter, AuditLog, AuditPage
from .changes import Change, Changes, Cursor
from .deliveries import Deliveries
from .endpoints import Egress, EndpointOptions, Endpoints
from .events import Events, Explanation
from .explain import PersonExplanation
from .imported import ImportReport, LineProblem
from .inbox import RecipientInbox
from .portal_links import PortalLinks
from .preferences import Cell, Preferences, TenantSettings
from .providers import Providers
from .recipient_changes import RecipientFields
from .recipients import Recipients
from .stored_templates import StoredTemplates
from .subscriptions import SubscriptionChanges, Subscriptions
from .suppressions import Suppressions
from .unsubscribe_links import UnsubscribeLinks

__all__ = [
    "ApiKeys",
    "AuditFilter",
    "AuditLog",
    "AuditPage",
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
    "Keyword",
    "LineProblem",
    "PageTokens",
    "PersonExplanation",
    "PortalLinks",
    "Preferences",
    "Providers",
    "RecipientFields",
    "RecipientInbox",
    "Recipients",
    "StepExplanation",
    "StoredTemplates",
    "SubscriptionChanges",
    "SubscriptionWarning",
    "Subscriptions",
    "Suppressions",
    "TenantSettings",
    "UnsubscribeLinks",
    "UnsubscribeTokens",
]
