"""The reference broker keeps the contract."""

from __future__ import annotations

import pytest

from notifykit.brokers.memory import MemoryBroker
from notifykit.testing import BrokerFeatures, BrokerSuite


class TestMemoryBroker(BrokerSuite):
    """Queues in one process."""

    features = BrokerFeatures(wipes=True)

    @pytest.fixture
    def the_broker(self):
        return MemoryBroker()

    @pytest.fixture
    def make_broker(self, the_broker):
        return lambda: the_broker

    @pytest.fixture
    def wipe(self, the_broker):
        async def wipe():
            the_broker.wipe()

        return wipe
