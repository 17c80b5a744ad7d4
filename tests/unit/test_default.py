"""The default kit: for programs with one store, made by ``configure()`` or from the environment."""

from __future__ import annotations

import attrs
import pytest

import notifykit
from notifykit import ConfigurationError, Event, default
from notifykit.stores.memory import MemoryStore

ACME = "acme"
SHIPPED = Event(type="order.shipped", data={"order_id": "A-1"})


@notifykit.event("order.paid")
@attrs.frozen
class OrderPaid:
    order_id: str


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch):
    """Each test begins in a program that has no default kit yet."""
    monkeypatch.setattr(default, "_kit", None)
    monkeypatch.delenv("NOTIFYKIT_URL", raising=False)
    yield
    if default._kit is not None:
        default._kit.close()


def test_the_first_publish_makes_a_kit_from_the_environment(monkeypatch, sqlite_store_url):
    """A program that configures nothing publishes to ``NOTIFYKIT_URL``."""
    monkeypatch.setenv("NOTIFYKIT_URL", sqlite_store_url)

    receipt = notifykit.publish(SHIPPED, tenant=ACME)

    kit = notifykit.default_kit()
    assert sqlite_store_url == kit.url
    assert kit is notifykit.default_kit()
    assert receipt.event_id == kit.blocking.events.get(receipt.event_id, tenant=ACME).id


def test_configure_takes_what_the_kit_takes(sqlite_store_url):
    """The configured kit is the one that publishes."""
    kit = notifykit.configure(sqlite_store_url, event_types=[OrderPaid])

    receipts = notifykit.publish_many([OrderPaid("A-1"), SHIPPED], tenant=ACME)

    assert kit is notifykit.default_kit()
    assert "order.paid" in kit.catalog
    assert 2 == len(receipts) == kit.blocking.stats().unplanned


async def test_async_code_has_the_same_default(store_url):
    """``apublish`` and ``apublish_many`` use the configured kit in the caller's loop."""
    kit = notifykit.configure(store_url)

    await notifykit.apublish(SHIPPED, tenant=ACME)
    await notifykit.apublish_many([SHIPPED, SHIPPED], tenant=ACME)

    assert 3 == (await kit.stats()).unplanned
    await kit.aclose()


def test_configuring_again_closes_the_kit_before(sqlite_store_url):
    """A second ``configure`` replaces the first, whose thread ends."""
    first = notifykit.configure(sqlite_store_url)
    notifykit.publish(SHIPPED, tenant=ACME)

    second = notifykit.configure("memory://")

    assert second is notifykit.default_kit() is not first
    assert not first.blocking.is_open


def test_a_wrong_configuration_leaves_the_kit_before(sqlite_store_url):
    """A typing error in a second ``configure`` does not take away what works."""
    first = notifykit.configure(sqlite_store_url)

    with pytest.raises(ConfigurationError):
        notifykit.configure("nosuch://store")

    assert first is notifykit.default_kit()


def test_a_stand_in_replaces_every_default():
    """In a test, whatever the program configures, events go to the test's kit, which adds the program's types."""
    configured = notifykit.configure("memory://")
    mine = notifykit.Notifykit("memory://")

    with default.stand_in(mine):
        inside = notifykit.default_kit()
        answer = notifykit.configure("sqlite:///never-made.db", event_types=[OrderPaid])
        notifykit.publish(OrderPaid("A-1"), tenant=ACME)

    assert mine is inside is answer
    assert "order.paid" in mine.catalog
    assert 1 == mine.blocking.stats().unplanned
    assert configured is notifykit.default_kit()
    mine.close()


def test_a_stand_in_ends_with_an_error_too():
    """A failing test does not leave its kit to the next one."""
    mine = notifykit.Notifykit(store=MemoryStore())

    with pytest.raises(ZeroDivisionError), default.stand_in(mine):
        raise ZeroDivisionError

    notifykit.configure("memory://")
    assert mine is not notifykit.default_kit()
