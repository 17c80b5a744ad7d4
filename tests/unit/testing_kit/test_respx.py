"""Hosts that use the httpx transport can test with respx, as with any other client of theirs."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
import respx

from notifykit import DeliveryState, EgressRules, InvalidEndpointError, Notifykit, RetryPolicy
from notifykit.signing import Verifier
from tests.unit.testing_kit.shop import OrderShipped

LOCAL = "http://127.0.0.1:8080/hooks"
EGRESS = EgressRules(allow=("127.0.0.0/8",), allow_http=True, transport="httpx")
QUICKLY = RetryPolicy(delays=[timedelta(milliseconds=1)] * 2, jitter=0)


@pytest.fixture
async def kit():
    async with Notifykit("memory://", egress=EGRESS) as kit:
        yield kit


@respx.mock(using="httpcore", base_url="http://127.0.0.1:8080")
async def test_respx_answers_for_the_receiver(kit, respx_mock):
    """The mock sees the signed request, and its answers lead to retries."""
    route = respx_mock.post("/hooks").mock(side_effect=[httpx.Response(503), httpx.ConnectError, httpx.Response(200)])
    _, endpoint = await kit.subscribe("**", tenant="acme", endpoint=LOCAL, retry=QUICKLY)

    async with kit.dispatcher() as dispatcher:
        await kit.apublish(OrderShipped("A-1"), tenant="acme")
        while (await kit.stats()).waiting + (await kit.stats()).unplanned + (await kit.stats()).sending:
            await dispatcher.drained()

    (delivery,) = await kit.deliveries.list(tenant="acme")
    last = route.calls.last.request
    event = Verifier(endpoint.secrets[0].value).open(last.content, last.headers)
    assert (DeliveryState.DELIVERED, 3) == (delivery.state, delivery.attempts)
    assert ("order.shipped", {"order_id": "A-1"}) == (event.type, event.data)


@respx.mock(using="httpcore", assert_all_called=False)
async def test_the_guard_stands_before_the_mock(kit, respx_mock):
    """What is not on the allow-list is refused as ever: a mock makes no address acceptable."""
    route = respx_mock.route().mock(return_value=httpx.Response(200))

    with pytest.raises(InvalidEndpointError, match="private"):
        await kit.subscribe("**", tenant="acme", endpoint="http://10.0.0.1/hooks")

    assert not route.called
