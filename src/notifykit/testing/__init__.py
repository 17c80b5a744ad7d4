"""What tests of programs and of backends need: an outbox, a receiver, fakes, and the suites that prove a backend.

A program's tests get the pytest fixture ``outbox`` by themselves (:mod:`~notifykit.testing.plugin`).  A
backend's author subclasses a suite, gives it a fixture and declares features::

    from notifykit.testing import StoreFeatures, StoreSuite

    class TestMyStore(StoreSuite):
        features = StoreFeatures(durable=True)

        @pytest.fixture
        async def store(self):
            ...

The suites and the plugin need pytest; everything else here does not.  Each name is
imported on first use, because every run of pytest imports this package for the plugin.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .builders import make_attempt as make_attempt
    from .builders import make_delivery as make_delivery
    from .builders import make_endpoint as make_endpoint
    from .builders import make_event as make_event
    from .builders import make_id as make_id
    from .builders import make_inbox_item as make_inbox_item
    from .builders import make_receipt as make_receipt
    from .builders import make_recipient as make_recipient
    from .builders import make_record as make_record
    from .builders import make_subscription as make_subscription
    from .cases import OutboxTestCase as OutboxTestCase
    from .clock import START as START
    from .clock import FakeClock as FakeClock
    from .outbox import Outbox as Outbox
    from .published import OutboxDelivery as OutboxDelivery
    from .published import PublishedEvent as PublishedEvent
    from .receiver import ReceivedRequest as ReceivedRequest
    from .receiver import Receiver as Receiver
    from .receiver import Reply as Reply
    from .receiver import VendorServer as VendorServer
    from .recording import RecordingChannel as RecordingChannel
    from .recording import RecordingProvider as RecordingProvider
    from .recording import SentMessage as SentMessage
    from .recording import SentRequest as SentRequest
    from .smtp import FakeSmtpServer as FakeSmtpServer
    from .smtp import ReceivedMail as ReceivedMail
    from .suites.broker import BrokerFeatures as BrokerFeatures
    from .suites.broker import BrokerSuite as BrokerSuite
    from .suites.digests import DigestSuite as DigestSuite
    from .suites.inbox import InboxSuite as InboxSuite
    from .suites.provider import ProviderSuite as ProviderSuite
    from .suites.store import StoreFeatures as StoreFeatures
    from .suites.store import StoreSuite as StoreSuite

_HOMES = {
    **dict.fromkeys(
        (
            "make_attempt",
            "make_delivery",
            "make_endpoint",
            "make_event",
            "make_id",
            "make_receipt",
            "make_recipient",
            "make_inbox_item",
            "make_record",
            "make_subscription",
        ),
        ".builders",
    ),
    "OutboxTestCase": ".cases",
    **dict.fromkeys(("START", "FakeClock"), ".clock"),
    "Outbox": ".outbox",
    **dict.fromkeys(("OutboxDelivery", "PublishedEvent"), ".published"),
    **dict.fromkeys(("ReceivedRequest", "Receiver", "Reply", "VendorServer"), ".receiver"),
    **dict.fromkeys(("RecordingChannel", "RecordingProvider", "SentMessage", "SentRequest"), ".recording"),
    "InboxSuite": ".suites.inbox",
    **dict.fromkeys(("FakeSmtpServer", "ReceivedMail"), ".smtp"),
    **dict.fromkeys(("BrokerFeatures", "BrokerSuite"), ".suites.broker"),
    "DigestSuite": ".suites.digests",
    "ProviderSuite": ".suites.provider",
    **dict.fromkeys(("StoreFeatures", "StoreSuite"), ".suites.store"),
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home.startswith(".suites"):
        import pytest

        # so that pytest rewrites their assertions and shows the values
        pytest.register_assert_rewrite(f"{__name__}.suites")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
