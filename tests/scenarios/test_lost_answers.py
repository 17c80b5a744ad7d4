"""The answer of an SMS vendor is lost on the way back: what has been paid for is not paid for again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from notifykit import DeliveryFilter, Event, Notifykit, RetryPolicy
from notifykit.channels import provider_channel_from_url
from notifykit.channels.messages import MessageChannel
from notifykit.policies.sms import canonical_number
from notifykit.testing.vendors import TwilioServer
from tests.scenarios.reliability.proxy import FaultProxy
from tests.stores import create_tables

pytestmark = pytest.mark.in_turn

TENANT = "acme"
#: So short that a second attempt would be made while the test looks on.
_RETRY = RetryPolicy(delays=(timedelta(milliseconds=20),) * 5)


def through(proxy: FaultProxy, vendor: TwilioServer) -> MessageChannel:
    """Return the channel that reaches the vendor through the proxy."""
    url = vendor.provider_url.replace(str(urlsplit(vendor.url).port), str(proxy.port))
    channel = provider_channel_from_url("sms", url)
    assert isinstance(channel, MessageChannel)
    return MessageChannel("sms", channel.renderer, channel.provider, check_address=canonical_number, retry=_RETRY)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A database with notifykit's tables."""
    url = f"sqlite:///{tmp_path}/notifykit.db"
    create_tables(url)
    return url


async def test_an_sms_whose_answer_is_lost_is_sent_once(database: str) -> None:
    """The vendor took it, we never hear of it: the delivery ends as ``uncertain``; others are not affected."""
    with TwilioServer() as vendor, FaultProxy("127.0.0.1", int(urlsplit(vendor.url).port or 0)) as proxy:
        async with Notifykit(database, channels=[through(proxy, vendor)]) as kit, kit.dispatcher() as dispatcher:
            numbers = [f"+4915123456{digits}" for digits in range(700, 706)]
            for number in numbers:
                await kit.subscriptions.create(
                    f"{number[1:]}.*", tenant=TENANT, subscriber=number, channel="sms", address=number
                )
            for lost, number in enumerate(numbers):
                if lost % 2:
                    proxy.swallow_answer_to(f"To=%2B{number[1:]}".encode())
                await kit.apublish(Event(type=f"{number[1:]}.shipped", data={}), tenant=TENANT)
                await dispatcher.drained()
                proxy.heal()
            # a second attempt would be due by now, and would be made before this one is delivered
            await kit.apublish(Event(type=f"{numbers[0][1:]}.shipped", data={}), tenant=TENANT)
            await dispatcher.drained()
            ends = {}
            for each in await kit.deliveries.list(DeliveryFilter(), tenant=TENANT):
                attempts = await kit.deliveries.attempts(each.id, tenant=TENANT)
                ends[each.address] = (each.state.value, each.reason, [attempt.outcome for attempt in attempts])

    sent = [message.to for message in vendor.messages]
    assert sorted([*numbers, numbers[0]]) == sorted(sent)
    delivered, uncertain = ("delivered", None, ["accepted"]), ("dead", "uncertain", ["uncertain"])
    assert {number: uncertain if lost % 2 else delivered for lost, number in enumerate(numbers)} == ends
    assert 3 == proxy.cuts
