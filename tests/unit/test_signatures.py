"""Signatures that are repeated for type checkers agree."""

from __future__ import annotations

import inspect
from typing import Any, ForwardRef

import attrs
import pytest

from notifykit import Event, Notifykit, Subscription, admin, default
from notifykit import blocking as facade
from notifykit.admin.endpoints import EndpointOptions
from notifykit.admin.subscriptions import SubscriptionChanges
from notifykit.options import KitOptions
from notifykit.publisher import PublishOptions
from notifykit.stores import StoreOptions
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.stores.sql.sqlite.store import SqliteStore

#: Methods of a kit that a sync caller does not call: it opens and closes by itself, ``migrate`` comes before
#: there is anything to open, and ``accept`` is for the parts of the kit.
NOT_BLOCKING = {"open", "aclose", "migrate", "accept"}
#: Methods that return a part of the kit.
PARTS = {"inbox", "preferences", "tenant_preferences"}


def coroutines(owner: type) -> dict[str, Any]:
    found = inspect.getmembers(owner, inspect.iscoroutinefunction)
    return {name: method for name, method in found if not name.startswith("_")}


def parameters(function: Any) -> dict[str, tuple[str, str, object]]:
    """Return kind, annotation and default of each parameter, but ``self``."""
    found = inspect.signature(function).parameters.values()
    return {each.name: (each.kind.description, each.annotation, each.default) for each in found if each.name != "self"}


def without_transactions(function: Any) -> dict[str, tuple[str, str, object]]:
    return {name: kind for name, kind in parameters(function).items() if name not in {"session", "connection"}}


def fields(options: Any) -> dict[str, str]:
    """Return the fields of a ``TypedDict`` as they are written, without those that it inherits."""
    return {
        name: kind.__forward_arg__ if isinstance(kind, ForwardRef) else kind
        for name, kind in options.__annotations__.items()
    }


def options_of(function: Any, *others: str) -> dict[str, str]:
    """Return the keyword-only parameters of a function that have a default."""
    return {
        name: kind
        for name, (how, kind, value) in parameters(function).items()
        if how == "keyword-only" and value is not inspect.Parameter.empty and name not in others
    }


@pytest.mark.parametrize(
    "part",
    [
        *("Deliveries", "Endpoints", "Events", "Preferences", "RecipientInbox", "Recipients", "Subscriptions"),
        "TenantSettings",
    ],
)
def test_every_method_of_a_part_has_a_blocking_one(part):
    """A method that is added to an asynchronous part is added to the blocking one, which takes its signature over."""
    made = {
        name: made._method
        for name, made in vars(getattr(facade, f"Blocking{part}")).items()
        if isinstance(made, facade._Waits)
    }

    assert coroutines(getattr(admin, part)) == made


def test_every_method_of_the_kit_has_a_blocking_one():
    """The methods that are spelled out have the parameters and the result of the asynchronous ones."""
    spelled = {name: method for name, method in vars(facade.Blocking).items() if inspect.isfunction(method)}
    ours = {
        f"a{name}" if name.startswith("publish") else name: method
        for name, method in spelled.items()
        if not name.startswith("_") and name != "close" and name not in PARTS
    }

    assert coroutines(Notifykit).keys() - NOT_BLOCKING == ours.keys()
    for name, method in ours.items():
        theirs = getattr(Notifykit, name)
        assert without_transactions(theirs) == without_transactions(method)
        assert theirs.__annotations__["return"] == method.__annotations__["return"]
    for name in PARTS:
        assert parameters(getattr(Notifykit, name)) == parameters(spelled[name])


def test_sync_and_async_publishing_take_the_same_options():
    """Each way to publish takes the same, but for the kinds of session and connection that it can join."""
    for name in ("publish", "publish_many"):
        expected = without_transactions(getattr(Notifykit, f"a{name}"))
        assert (
            expected == without_transactions(getattr(Notifykit, name)) == without_transactions(getattr(default, name))
        )
        assert parameters(getattr(Notifykit, name)) == parameters(getattr(default, name))
        assert parameters(getattr(Notifykit, f"a{name}")) == parameters(getattr(default, f"a{name}"))


def test_options_that_are_passed_on_are_those_that_are_taken():
    """The options of ``subscribe``, ``configure`` and the stores are what is taken where they end up."""
    sealing = ("keys", "environment", "encrypt_payloads")
    stores = options_of(SqliteStore.__init__, *sealing) | options_of(PostgresStore.__init__, *sealing, "own_pool")

    assert options_of(admin.Endpoints.create) == fields(EndpointOptions)
    assert stores == fields(StoreOptions)
    assert options_of(Notifykit.__init__) | stores == fields(KitOptions)


def test_options_are_fields_of_what_they_make():
    """The options of a publish are fields of an event, those of a change fields of a subscription."""
    assert fields(PublishOptions).keys() == {field.name for field in attrs.fields(Event)} - {"type", "version", "data"}
    assert fields(SubscriptionChanges).keys() <= {field.name for field in attrs.fields(Subscription)}
