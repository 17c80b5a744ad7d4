"""The memory store keeps the contract; it is what other stores are compared with."""

from __future__ import annotations

import pytest

from notifykit.stores.memory import MemoryStore
from notifykit.testing import StoreFeatures, StoreSuite


class TestMemoryStore(StoreSuite):
    """The reference store keeps every promise of a store that lives in one process."""

    features = StoreFeatures(fair=True)

    @pytest.fixture
    async def store(self):
        store = MemoryStore()
        await store.open()
        yield store
        await store.aclose()
