"""notifykit: what happened in a business, reliably to everyone who should know.

The names below are the public API; everything is imported on first use, so that
``import notifykit`` costs next to nothing and pulls in no optional client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import signing as signing
    from .catalog import event as event
    from .default import apublish as apublish
    from .default import apublish_many as apublish_many
    from .default import configure as configure
    from .default import default_kit as default_kit
    from .default import publish as publish
    from .default import publish_many as publish_many
    from .dispatch.dispatcher import Dispatcher as Dispatcher
    from .dispatch.settings import DispatchSettings as DispatchSettings
    from .errors import CannotJoinError as CannotJoinError
    from .errors import ConfigurationError as ConfigurationError
    from .errors import IdempotencyConflictError as IdempotencyConflictError
    from .errors import InvalidEndpointError as InvalidEndpointError
    from .errors import InvalidEventError as InvalidEventError
    from .errors import InvalidInputError as InvalidInputError
    from .errors import InvalidSubscriptionError as InvalidSubscriptionError
    from .errors import MissingExtraError as MissingExtraError
    from .errors import NewerSchemaError as NewerSchemaError
    from .errors import NotFoundError as NotFoundError
    from .errors import NotifykitError as NotifykitError
    from .errors import SchemaError as SchemaError
    from .errors import StaleWriteError as StaleWriteError
    from .errors import StateError as StateError
    from .errors import StoreError as StoreError
    from .errors import StoreUnavailableError as StoreUnavailableError
    from .errors import ValueRefusedError as ValueRefusedError
    from .errors import VaultError as VaultError
    from .kit import EgressRules as EgressRules
    from .kit import Notifykit as Notifykit
    from .models.delivery import Attempt as Attempt
    from .models.delivery import Delivery as Delivery
    from .models.delivery import DeliveryState as DeliveryState
    from .models.delivery import Priority as Priority
    from .models.endpoint import Endpoint as Endpoint
    from .models.endpoint import EndpointState as EndpointState
    from .models.endpoint import RateLimit as RateLimit
    from .models.event import Event as Event
    from .models.event import EventType as EventType
    from .models.event import Receipt as Receipt
    from .models.event import Resource as Resource
    from .models.retry import RetryPolicy as RetryPolicy
    from .models.subscription import Subscription as Subscription
    from .policies.admit import Limits as Limits
    from .ports import DeliveryFilter as DeliveryFilter
    from .vault import KeyRing as KeyRing

_HOMES = {
    "signing": "",
    **dict.fromkeys(("event",), ".catalog"),
    **dict.fromkeys(("apublish", "apublish_many", "configure", "default_kit", "publish", "publish_many"), ".default"),
    "Dispatcher": ".dispatch.dispatcher",
    "DispatchSettings": ".dispatch.settings",
    **dict.fromkeys(
        (
            "CannotJoinError",
            "ConfigurationError",
            "IdempotencyConflictError",
            "InvalidEndpointError",
            "InvalidEventError",
            "InvalidInputError",
            "InvalidSubscriptionError",
            "MissingExtraError",
            "NewerSchemaError",
            "NotFoundError",
            "NotifykitError",
            "SchemaError",
            "StaleWriteError",
            "StateError",
            "StoreError",
            "StoreUnavailableError",
            "ValueRefusedError",
            "VaultError",
        ),
        ".errors",
    ),
    **dict.fromkeys(("EgressRules", "Notifykit"), ".kit"),
    **dict.fromkeys(("Attempt", "Delivery", "DeliveryState", "Priority"), ".models.delivery"),
    **dict.fromkeys(("Endpoint", "EndpointState", "RateLimit"), ".models.endpoint"),
    **dict.fromkeys(("Event", "EventType", "Receipt", "Resource"), ".models.event"),
    "RetryPolicy": ".models.retry",
    "Subscription": ".models.subscription",
    "Limits": ".policies.admit",
    "DeliveryFilter": ".ports",
    "KeyRing": ".vault",
}

__all__ = [
    "Attempt",
    "CannotJoinError",
    "ConfigurationError",
    "Delivery",
    "DeliveryFilter",
    "DeliveryState",
    "DispatchSettings",
    "Dispatcher",
    "EgressRules",
    "Endpoint",
    "EndpointState",
    "Event",
    "EventType",
    "IdempotencyConflictError",
    "InvalidEndpointError",
    "InvalidEventError",
    "InvalidInputError",
    "InvalidSubscriptionError",
    "KeyRing",
    "Limits",
    "MissingExtraError",
    "NewerSchemaError",
    "NotFoundError",
    "Notifykit",
    "NotifykitError",
    "Priority",
    "RateLimit",
    "Receipt",
    "Resource",
    "RetryPolicy",
    "SchemaError",
    "StaleWriteError",
    "StateError",
    "StoreError",
    "StoreUnavailableError",
    "Subscription",
    "ValueRefusedError",
    "VaultError",
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
