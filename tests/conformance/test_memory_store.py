"""The memory store keeps the contract; it is what other stores are compared with."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from notifykit.stores.memory import MemoryStore
from notifykit.testing import DigestSuite, InboxSuite, StoreFeatures, StoreSuite, make_event


class MemoryFixtures:
    """A store for each test."""

    features = StoreFeatures(fair=True)

    @pytest.fixture
    async def store(self):
        store = MemoryStore()
        await store.open()
        yield store
        await store.aclose()


class TestMemoryInbox(MemoryFixtures, InboxSuite):
    """Inboxes keep every promise."""


class TestMemoryStore(MemoryFixtures, DigestSuite, StoreSuite):
    """The reference store keeps every promise of a store that lives in one process."""

    async def test_a_hint_is_kept_for_who_waits_next(self, store):
        """An append between looking for work and waiting for it is not missed."""
        await store.append([make_event()])

        with anyio.fail_after(45):
            await store.wait(timedelta(minutes=1))
