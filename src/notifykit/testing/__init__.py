"""What tests of programs and of backends need: fakes, builders, and the suites that prove a backend.

A backend's author subclasses a suite, gives it a fixture and declares features::

    from notifykit.testing import StoreFeatures, StoreSuite

    class TestMyStore(StoreSuite):
        features = StoreFeatures(durable=True)

        @pytest.fixture
        async def store(self):
            ...

The suites need pytest; everything else here does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .builders import (
    make_attempt,
    make_delivery,
    make_endpoint,
    make_event,
    make_id,
    make_record,
    make_subscription,
)
from .clock import START, FakeClock

if TYPE_CHECKING:
    from .suites.store import StoreFeatures, StoreSuite

__all__ = [
    "START",
    "FakeClock",
    "StoreFeatures",
    "StoreSuite",
    "make_attempt",
    "make_delivery",
    "make_endpoint",
    "make_event",
    "make_id",
    "make_record",
    "make_subscription",
]

_SUITES = {"StoreFeatures": "store", "StoreSuite": "store"}


def __getattr__(name: str) -> Any:
    """Import a suite when it is asked for, so that its assertions explain themselves and the rest needs no pytest."""
    if name not in _SUITES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    import pytest

    pytest.register_assert_rewrite(f"{__name__}.suites")
    return getattr(import_module(f"{__name__}.suites.{_SUITES[name]}"), name)
