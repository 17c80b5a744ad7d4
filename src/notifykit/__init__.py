"""notifykit: what happened in a business, reliably to every recipient.

The names below are the public API; everything is imported on first use, so that
``import notifykit`` costs next to nothing and pulls in no optional client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import signing as signing
    from .admin import Deliveries as Deliveries
    from .admin import Endpoints as Endpoints
    from .admin import Events as Events
    from .admin import Explanation as Explanation
    from .admin import PersonExplanation as PersonExplanation
    from .admin import Preferences as Preferences
    from .admin import Providers as Providers
    from .admin import RecipientInbox as RecipientInbox
    from .admin import Recipients as Recipients
    from .admin import StoredTemplates as StoredTemplates
    from .admin import Subscriptions as Subscriptions
    from .admin import Suppressions as Suppressions
    from .admin import TenantSettings as TenantSettings
    from .admin import UnsubscribeLinks as UnsubscribeLinks
    from .admin.endpoints import Retry as Retry
    from .blocking import Blocking as Blocking
    from .catalog import EventCatalog as EventCatalog
    from .catalog import event as event
    from .channels.accounts import Account as Account
    from .default import apublish as apublish
    from .default import apublish_many as apublish_many
    from .default import configure as configure
    from .default import default_kit as default_kit
    from .default import publish as publish
    from .default import publish_many as publish_many
    from .dispatch.runtime.dispatcher import Dispatcher as Dispatcher
    from .dispatch.settings import DispatchSettings as DispatchSettings
    from .dispatch.settings import LaneSettings as LaneSettings
    from .errors import BrokerUnavailableError as BrokerUnavailableError
    from .errors import CannotJoinError as CannotJoinError
    from .errors import ConfigurationError as ConfigurationError
    from .errors import DestinationRefusedError as DestinationRefusedError
    from .errors import IdempotencyConflictError as IdempotencyConflictError
    from .errors import InvalidEndpointError as InvalidEndpointError
    from .errors import InvalidEventError as InvalidEventError
    from .errors import InvalidInputError as InvalidInputError
    from .errors import InvalidLinkError as InvalidLinkError
    from .errors import InvalidSubscriptionError as InvalidSubscriptionError
    from .errors import MissingExtraError as MissingExtraError
    from .errors import MissingKeyError as MissingKeyError
    from .errors import NewerSchemaError as NewerSchemaError
    from .errors import NotFoundError as NotFoundError
    from .errors import NotifykitError as NotifykitError
    from .errors import SchemaError as SchemaError
    from .errors import StaleWriteError as StaleWriteError
    from .errors import StateError as StateError
    from .errors import StoreError as StoreError
    from .errors import StoreUnavailableError as StoreUnavailableError
    from .errors import TamperedError as TamperedError
    from .errors import TemplateError as TemplateError
    from .errors import ValueRefusedError as ValueRefusedError
    from .errors import VaultError as VaultError
    from .ingest import EventMapping as EventMapping
    from .ingest import Ingest as Ingest
    from .kit import Notifykit as Notifykit
    from .models.access import AccessScope as AccessScope
    from .models.access import ApiKey as ApiKey
    from .models.access import ApiKeySecret as ApiKeySecret
    from .models.access import Role as Role
    from .models.addresses import AddressState as AddressState
    from .models.addresses import Suppression as Suppression
    from .models.audit import AuditEntry as AuditEntry
    from .models.delivery import Attempt as Attempt
    from .models.delivery import Delivery as Delivery
    from .models.delivery import DeliveryState as DeliveryState
    from .models.delivery import EventDetails as EventDetails
    from .models.delivery import Priority as Priority
    from .models.destination import Destination as Destination
    from .models.digest import Digest as Digest
    from .models.endpoint import Endpoint as Endpoint
    from .models.endpoint import EndpointSecret as EndpointSecret
    from .models.endpoint import EndpointState as EndpointState
    from .models.endpoint import RateLimit as RateLimit
    from .models.event import Event as Event
    from .models.event import EventType as EventType
    from .models.event import Receipt as Receipt
    from .models.event import Resource as Resource
    from .models.event import StoredEvent as StoredEvent
    from .models.inbox import InboxChanges as InboxChanges
    from .models.inbox import InboxCounts as InboxCounts
    from .models.inbox import InboxItem as InboxItem
    from .models.inbox import InboxMark as InboxMark
    from .models.inbox import InboxMarks as InboxMarks
    from .models.inbox import InboxPage as InboxPage
    from .models.inbox import InboxState as InboxState
    from .models.preferences import Mute as Mute
    from .models.preferences import MuteSelector as MuteSelector
    from .models.preferences import Purpose as Purpose
    from .models.preferences import Scope as Scope
    from .models.preferences import Selector as Selector
    from .models.preferences import Setting as Setting
    from .models.provider_account import ProviderAccount as ProviderAccount
    from .models.quiet_hours import QuietHours as QuietHours
    from .models.quiet_hours import Weekday as Weekday
    from .models.quiet_hours import Window as Window
    from .models.receipt import ProviderReceipt as ProviderReceipt
    from .models.receipt import ReceiptKind as ReceiptKind
    from .models.recipient import Consent as Consent
    from .models.recipient import Person as Person
    from .models.recipient import Recipient as Recipient
    from .models.recipient import RecipientAddress as RecipientAddress
    from .models.recipient import TenantPreferences as TenantPreferences
    from .models.retry import RetryPolicy as RetryPolicy
    from .models.routing import RouteOptions as RouteOptions
    from .models.steps import Step as Step
    from .models.subscription import Subscription as Subscription
    from .models.suppression import SuppressedAddress as SuppressedAddress
    from .models.suppression import SuppressionEntry as SuppressionEntry
    from .models.suppression import SuppressionReason as SuppressionReason
    from .models.template import StoredTemplate as StoredTemplate
    from .models.template import TemplateRevision as TemplateRevision
    from .models.template import TenantTemplates as TenantTemplates
    from .models.throttle import Throttle as Throttle
    from .models.unsubscribe import UnsubscribeScope as UnsubscribeScope
    from .models.worker import WorkerRecord as WorkerRecord
    from .options import EgressRules as EgressRules
    from .options import KitOptions as KitOptions
    from .policies.admit import Limits as Limits
    from .ports import AddressedChannel as AddressedChannel
    from .ports import Channel as Channel
    from .ports import Clock as Clock
    from .ports import DeliveryFilter as DeliveryFilter
    from .ports import Store as Store
    from .ports import StoreStats as StoreStats
    from .publisher import PublishOptions as PublishOptions
    from .stores import StoreOptions as StoreOptions
    from .telemetry import Subscriber as Subscriber
    from .telemetry import TelemetryEvent as TelemetryEvent
    from .vault import KeyRing as KeyRing

_HOMES = {
    "signing": "",
    **dict.fromkeys(
        (
            "Deliveries",
            "Endpoints",
            "Events",
            "Explanation",
            "PersonExplanation",
            "Preferences",
            "Providers",
            "RecipientInbox",
            "Recipients",
            "StoredTemplates",
            "Subscriptions",
            "Suppressions",
            "TenantSettings",
            "UnsubscribeLinks",
        ),
        ".admin",
    ),
    "Retry": ".admin.endpoints",
    "Blocking": ".blocking",
    **dict.fromkeys(("EventCatalog", "event"), ".catalog"),
    "Account": ".channels.accounts",
    **dict.fromkeys(("apublish", "apublish_many", "configure", "default_kit", "publish", "publish_many"), ".default"),
    "Dispatcher": ".dispatch.runtime.dispatcher",
    **dict.fromkeys(("DispatchSettings", "LaneSettings"), ".dispatch.settings"),
    **dict.fromkeys(
        (
            "BrokerUnavailableError",
            "CannotJoinError",
            "ConfigurationError",
            "DestinationRefusedError",
            "IdempotencyConflictError",
            "InvalidEndpointError",
            "InvalidEventError",
            "InvalidInputError",
            "InvalidSubscriptionError",
            "InvalidLinkError",
            "MissingExtraError",
            "NewerSchemaError",
            "MissingKeyError",
            "NotFoundError",
            "NotifykitError",
            "SchemaError",
            "StaleWriteError",
            "StateError",
            "StoreError",
            "StoreUnavailableError",
            "ValueRefusedError",
            "TamperedError",
            "TemplateError",
            "VaultError",
        ),
        ".errors",
    ),
    "StoreOptions": ".stores",
    **dict.fromkeys(("EgressRules", "KitOptions"), ".options"),
    **dict.fromkeys(("EventMapping", "Ingest"), ".ingest"),
    "Notifykit": ".kit",
    **dict.fromkeys(("Attempt", "Delivery", "DeliveryState", "EventDetails", "Priority"), ".models.delivery"),
    "Destination": ".models.destination",
    "Digest": ".models.digest",
    **dict.fromkeys(("Endpoint", "EndpointSecret", "EndpointState", "RateLimit"), ".models.endpoint"),
    **dict.fromkeys(("Event", "EventType", "Receipt", "Resource", "StoredEvent"), ".models.event"),
    **dict.fromkeys(
        ("InboxChanges", "InboxCounts", "InboxItem", "InboxMark", "InboxMarks", "InboxPage", "InboxState"),
        ".models.inbox",
    ),
    **dict.fromkeys(("AddressState", "Suppression"), ".models.addresses"),
    **dict.fromkeys(("Mute", "MuteSelector", "Purpose", "Scope", "Selector", "Setting"), ".models.preferences"),
    **dict.fromkeys(("QuietHours", "Weekday", "Window"), ".models.quiet_hours"),
    **dict.fromkeys(("ProviderReceipt", "ReceiptKind"), ".models.receipt"),
    **dict.fromkeys(("Consent", "Person", "Recipient", "RecipientAddress", "TenantPreferences"), ".models.recipient"),
    "ProviderAccount": ".models.provider_account",
    **dict.fromkeys(("AccessScope", "ApiKey", "ApiKeySecret", "Role"), ".models.access"),
    "AuditEntry": ".models.audit",
    "WorkerRecord": ".models.worker",
    "RetryPolicy": ".models.retry",
    "RouteOptions": ".models.routing",
    "Step": ".models.steps",
    "Throttle": ".models.throttle",
    "Subscription": ".models.subscription",
    **dict.fromkeys(("SuppressedAddress", "SuppressionEntry", "SuppressionReason"), ".models.suppression"),
    **dict.fromkeys(("StoredTemplate", "TemplateRevision", "TenantTemplates"), ".models.template"),
    "UnsubscribeScope": ".models.unsubscribe",
    "Limits": ".policies.admit",
    **dict.fromkeys(("AddressedChannel", "Channel", "Clock", "DeliveryFilter", "Store", "StoreStats"), ".ports"),
    "PublishOptions": ".publisher",
    **dict.fromkeys(("Subscriber", "TelemetryEvent"), ".telemetry"),
    "KeyRing": ".vault",
}

__all__ = [
    "AccessScope",
    "Account",
    "AddressState",
    "AddressedChannel",
    "ApiKey",
    "ApiKeySecret",
    "Attempt",
    "AuditEntry",
    "Blocking",
    "BrokerUnavailableError",
    "CannotJoinError",
    "Channel",
    "Clock",
    "ConfigurationError",
    "Consent",
    "Deliveries",
    "Delivery",
    "DeliveryFilter",
    "DeliveryState",
    "Destination",
    "DestinationRefusedError",
    "Digest",
    "DispatchSettings",
    "Dispatcher",
    "EgressRules",
    "Endpoint",
    "EndpointSecret",
    "EndpointState",
    "Endpoints",
    "Event",
    "EventCatalog",
    "EventDetails",
    "EventMapping",
    "EventType",
    "Events",
    "Explanation",
    "IdempotencyConflictError",
    "InboxChanges",
    "InboxCounts",
    "InboxItem",
    "InboxMark",
    "InboxMarks",
    "InboxPage",
    "InboxState",
    "Ingest",
    "InvalidEndpointError",
    "InvalidEventError",
    "InvalidInputError",
    "InvalidLinkError",
    "InvalidSubscriptionError",
    "KeyRing",
    "KitOptions",
    "LaneSettings",
    "Limits",
    "MissingExtraError",
    "MissingKeyError",
    "Mute",
    "MuteSelector",
    "NewerSchemaError",
    "NotFoundError",
    "Notifykit",
    "NotifykitError",
    "Person",
    "PersonExplanation",
    "Preferences",
    "Priority",
    "ProviderAccount",
    "ProviderReceipt",
    "Providers",
    "PublishOptions",
    "Purpose",
    "QuietHours",
    "RateLimit",
    "Receipt",
    "ReceiptKind",
    "Recipient",
    "RecipientAddress",
    "RecipientInbox",
    "Recipients",
    "Resource",
    "Retry",
    "RetryPolicy",
    "Role",
    "RouteOptions",
    "SchemaError",
    "Scope",
    "Selector",
    "Setting",
    "StaleWriteError",
    "StateError",
    "Step",
    "Store",
    "StoreError",
    "StoreOptions",
    "StoreStats",
    "StoreUnavailableError",
    "StoredEvent",
    "StoredTemplate",
    "StoredTemplates",
    "Subscriber",
    "Subscription",
    "Subscriptions",
    "SuppressedAddress",
    "Suppression",
    "SuppressionEntry",
    "SuppressionReason",
    "Suppressions",
    "TamperedError",
    "TelemetryEvent",
    "TemplateError",
    "TemplateRevision",
    "TenantPreferences",
    "TenantSettings",
    "TenantTemplates",
    "Throttle",
    "UnsubscribeLinks",
    "UnsubscribeScope",
    "ValueRefusedError",
    "VaultError",
    "Weekday",
    "Window",
    "WorkerRecord",
    "apublish",
    "apublish_many",
    "configure",
    "default_kit",
    "event",
    "publish",
    "publish_many",
    "signing",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from .distribution import version

        return version() or "0"  # a source tree that was never installed
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = import_module(f".{name}", __name__) if not home else getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
