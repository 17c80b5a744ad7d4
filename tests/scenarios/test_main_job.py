"""The main job over real HTTP: published events arrive signed, on every store that keeps them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

import notifykit
from notifykit import DeliveryState, DispatchSettings, EgressRules, Notifykit, RetryPolicy
from notifykit.ports import DeliveryFilter
from notifykit.testing import Receiver

QUICK = RetryPolicy(delays=(timedelta(milliseconds=30),) * 3, jitter=0)
SETTINGS = DispatchSettings(poll=timedelta(milliseconds=100))


@notifykit.event("order.shipped", category="orders")
@attrs.frozen
class OrderShipped:
    """An order has left."""

    order_id: str
    to: str


@pytest.fixture(params=["sqlite", "postgres"])
async def kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Notifykit]:
    """An open kit that may deliver to loopback."""
    on_sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/job.db" if on_sqlite else request.getfixturevalue("postgres_database")
    egress = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
    async with Notifykit(url, event_types=[OrderShipped], egress=egress, create=True) as opened:
        yield opened


async def settled(kit: Notifykit, count: int, tenant: str = "acme") -> Counter[DeliveryState]:
    """Wait until ``count`` deliveries of the tenant have ended; return their states."""
    async with asyncio.timeout(20):
        while True:
            found = await kit.deliveries.list(DeliveryFilter(), tenant=tenant, limit=1000)
            states = Counter(delivery.state for delivery in found if delivery.state.is_final)
            if states.total() >= count:
                return states
            await asyncio.sleep(0.02)


async def test_every_event_arrives_once_signed_and_unchanged(kit: Notifykit) -> None:
    """Bodies are the published data as Standard Webhooks defines; each event arrives once."""
    with Receiver() as receiver:
        await kit.subscribe("order.*", tenant="acme", endpoint=f"{receiver.url}/hook", secret=receiver.secret)

        async with kit.dispatcher(settings=SETTINGS):
            published = [
                (await kit.apublish(OrderShipped(f"A-{n}", "Zürich"), tenant="acme")).event_id for n in range(50)
            ]
            states = await settled(kit, 50)

        bodies = {request.header("webhook-id"): json.loads(request.body) for request in receiver.requests}
        assert {DeliveryState.DELIVERED: 50} == dict(states)
        assert sorted(published) == sorted(request.header("webhook-id") or "" for request in receiver.requests)
        assert [{"order_id": f"A-{n}", "to": "Zürich"} for n in range(50)] == [bodies[id_]["data"] for id_ in published]
        assert {"order.shipped"} == {body["type"] for body in bodies.values()}


async def test_a_receiver_that_recovers_gets_the_same_bytes_again(kit: Notifykit) -> None:
    """Retries repeat id and body; only timestamp and signature are new."""
    with Receiver() as receiver:
        receiver.reply(503, 500)
        await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret, retry=QUICK)

        async with kit.dispatcher(settings=SETTINGS):
            await kit.apublish(OrderShipped("A-1", "Bern"), tenant="acme")
            states = await settled(kit, 1)

        assert {DeliveryState.DELIVERED: 1} == dict(states)
        assert 3 == len(receiver.requests)
        assert 1 == len({(request.header("webhook-id"), request.body) for request in receiver.requests})


async def test_a_receiver_that_never_accepts_leaves_a_dead_letter_that_can_be_redriven(kit: Notifykit) -> None:
    """The dead letter keeps its attempts; a redrive delivers it once the receiver works."""
    with Receiver() as receiver:
        receiver.reply(500, 500, 500, 500)
        await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret, retry=QUICK)

        async with kit.dispatcher(settings=SETTINGS):
            await kit.apublish(OrderShipped("A-1", "Bern"), tenant="acme")
            dead = await settled(kit, 1)
            (letter,) = await kit.deliveries.dead(tenant="acme")
            redriven = await kit.deliveries.redrive_all(tenant="acme")
            again = await settled(kit, 1)
            while DeliveryState.DELIVERED not in again:
                again = await settled(kit, 1)

        attempts = await kit.deliveries.attempts(letter.id, tenant="acme")
        assert ({DeliveryState.DEAD: 1}, "exhausted:http_500", 1) == (dict(dead), letter.reason, redriven)
        assert [500, 500, 500, 500, 204] == [attempt.status for attempt in attempts]
        assert 1 == len({request.body for request in receiver.requests})


async def test_tenants_get_only_their_own_events(kit: Notifykit) -> None:
    """Patterns, topics and filters choose within a tenant, never across."""
    with Receiver() as first, Receiver() as second:
        await kit.subscribe("order.*", tenant="acme", endpoint=first.url, secret=first.secret, topic="shop/1/**")
        await kit.subscribe(
            "**", tenant="globex", endpoint=second.url, secret=second.secret, filter={"to": [{"prefix": "B"}]}
        )

        async with kit.dispatcher(settings=SETTINGS):
            wanted = await kit.apublish(OrderShipped("A-1", "Bern"), tenant="acme", topic="shop/1/order/A-1")
            await kit.apublish(OrderShipped("A-2", "Bern"), tenant="acme", topic="shop/2/order/A-2")
            await kit.apublish(OrderShipped("A-3", "Zug"), tenant="globex")
            chosen = await kit.apublish(OrderShipped("A-4", "Basel"), tenant="globex")
            await settled(kit, 1)
            await settled(kit, 1, tenant="globex")

        assert [wanted.event_id] == [request.header("webhook-id") for request in first.requests]
        assert [chosen.event_id] == [request.header("webhook-id") for request in second.requests]


async def test_rotated_secrets_sign_together_until_the_old_one_ends(kit: Notifykit) -> None:
    """During the overlap a receiver with either secret verifies; after a revocation only the new one does."""
    with Receiver() as receiver:
        _, endpoint = await kit.subscribe("**", tenant="acme", endpoint=receiver.url, secret=receiver.secret)
        rotated = await kit.endpoints.rotate_secret(endpoint.id, tenant="acme", overlap=timedelta(hours=1))
        new = notifykit.signing.Verifier(rotated.secrets[0].value)

        async with kit.dispatcher(settings=SETTINGS):
            await kit.apublish(OrderShipped("A-1", "Bern"), tenant="acme")
            await settled(kit, 1)
            both = receiver.requests[0]
            await kit.endpoints.revoke_secret(endpoint.id, receiver.secret, tenant="acme")
            await kit.apublish(OrderShipped("A-2", "Bern"), tenant="acme")
            async with asyncio.timeout(10):
                while len(receiver.requests) < 2:
                    await asyncio.sleep(0.01)

        assert both.body == new.verify(both.body, both.headers)
        assert [None, "no_match"] == [request.problem for request in receiver.requests[:2]]


async def test_a_test_event_goes_to_that_endpoint_alone(kit: Notifykit) -> None:
    """An operator can test one endpoint without sending to the others."""
    with Receiver() as first, Receiver() as second:
        _, endpoint = await kit.subscribe("order.*", tenant="acme", endpoint=first.url, secret=first.secret)
        await kit.subscribe("**", tenant="acme", endpoint=second.url, secret=second.secret)

        async with kit.dispatcher(settings=SETTINGS):
            receipt = await kit.endpoints.test(endpoint.id, tenant="acme")
            await settled(kit, 1)

        assert [receipt.event_id] == [request.header("webhook-id") for request in first.requests]
        assert [] == second.requests
