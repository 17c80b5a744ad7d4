"""The outbox's store keeps the contract of a store, from a loop that is not its own."""

from __future__ import annotations

import pytest
from anyio.from_thread import start_blocking_portal

from notifykit.testing import StoreFeatures, StoreSuite
from notifykit.testing.shared_store import SharedStore


class TestSharedStore(StoreSuite):
    """Every verb does what it does in the memory store, although it runs in another loop."""

    features = StoreFeatures(fair=True)

    @pytest.fixture
    def store(self):
        with start_blocking_portal("asyncio") as portal:
            store = SharedStore(portal)
            yield store
            store.close()
