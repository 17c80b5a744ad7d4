"""The broker on NATS JetStream keeps the contract, on a real server."""

from __future__ import annotations

from uuid import uuid4

import pytest

from notifykit.testing import BrokerFeatures, BrokerSuite

pytest.importorskip("nats", reason="needs nats-py")

import nats

from notifykit.brokers.nats import NatsBroker
from notifykit.brokers.url import lane_name


@pytest.mark.thorough
@pytest.mark.xdist_group("nats")
class TestNatsBroker(BrokerSuite):
    """A stream with a consumer for each lane."""

    features = BrokerFeatures(redelivers=True, remote=True, wipes=True, foreign=True)

    @pytest.fixture
    def prefix(self):
        return f"test-{uuid4().hex[:12]}"

    @pytest.fixture
    def make_broker(self, nats_url, prefix):
        return lambda: NatsBroker(f"{nats_url}?prefix={prefix}&redeliver=0.5")

    @pytest.fixture
    def unreachable(self):
        return NatsBroker("nats://127.0.0.1:1")

    @pytest.fixture
    def wipe(self, nats_url, prefix):
        async def wipe():
            connection = await nats.connect(nats_url)
            await connection.jetstream().delete_stream(prefix)
            await connection.close()

        return wipe

    @pytest.fixture
    def put_foreign(self, nats_url, prefix):
        async def put(lane, message):
            connection = await nats.connect(nats_url)
            await connection.jetstream().publish(lane_name(prefix, lane, "."), message)
            await connection.close()

        return put
