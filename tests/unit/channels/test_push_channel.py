"""The channel ``push``: each device of a person is reached through the service and the account of its app."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from urllib.parse import quote

import pytest

from notifykit import ConfigurationError, Event, Notifykit
from notifykit.channels import provider_channel_from_url
from notifykit.channels.push.channel import PushChannel
from notifykit.models.messages import PushMessage
from notifykit.models.outcome import Permanent
from notifykit.testing import START, Reply, VendorServer
from notifykit.testing.suites.provider import make_claim

from .push_keys import APNS_TOKEN, APNS_URL, EC_PEM, FCM_TOKEN, fcm_url
from .test_push_webpush import subscription

ACME, ADA = "acme", "user:ada"
WEBPUSH_URL = f"webpush://?key={quote(EC_PEM)}&subject=mailto:ops@example.org"
FCM_URL = fcm_url("https://oauth2.googleapis.com/token")


def channel_of(*urls: str) -> PushChannel:
    channel = provider_channel_from_url("push", " && ".join(urls))
    assert isinstance(channel, PushChannel)
    return channel


def account_of(channel: PushChannel, token: str, app: str | None = None) -> str | None:
    """Return the circuit, and so the account, of a token."""
    return channel.destination(tenant=ACME, subscriber_id=ADA, address=token, app=app).circuit_key


def test_the_form_of_a_token_chooses_the_service():
    """Each has its own circuit; the platform that the host names does not matter."""
    channel = channel_of(FCM_URL, APNS_URL, WEBPUSH_URL)

    assert "fcm://example-shop" == account_of(channel, FCM_TOKEN)
    assert "apns://org.example.shop" == account_of(channel, APNS_TOKEN)
    assert str(account_of(channel, subscription())).startswith("webpush://")
    assert "fcm+apns+webpush" == channel.provider.name
    assert "<PushServices fcm://example-shop && apns://org.example.shop && webpush://" in repr(channel.provider)


@pytest.mark.parametrize(
    ("app", "expected"),
    [("driver", "apns://org.example.driver"), ("shop", "apns://org.example.shop"), (None, "apns://org.example.shop")],
)
def test_the_app_chooses_among_accounts(app, expected):
    """Of one without a name the account without one, or the first."""
    driver = APNS_URL.replace("org.example.shop", "org.example.driver") + "&app=driver"
    channel = channel_of(driver, APNS_URL)

    assert expected == account_of(channel, APNS_TOKEN, app)
    assert "apns://org.example.driver" == account_of(channel_of(driver), APNS_TOKEN)


@pytest.mark.parametrize(("token", "app"), [(APNS_TOKEN, None), (FCM_TOKEN, "driver")])
async def test_a_token_without_a_service(token, app):
    """The message ends, and the token stays: an operator may have forgotten a URL."""
    channel = channel_of(f"{FCM_URL}&app=shop")
    destination = channel.destination(tenant=ACME, subscriber_id=ADA, address=token, app=app)

    push = PushMessage(title="", body="")
    outcome = await channel.provider.send(push, make_claim("push", token), destination, now=START)

    assert isinstance(outcome, Permanent)
    assert "no_push_service" == outcome.reason
    assert destination.circuit_key is None
    await channel.aclose()


def test_the_timeout_is_that_of_the_service():
    """A URL says it."""
    channel = channel_of(f"{FCM_URL}&timeout=7", APNS_URL)
    timeouts = [
        channel.destination(tenant=ACME, subscriber_id=ADA, address=token).timeout.total_seconds()
        for token in (FCM_TOKEN, APNS_TOKEN)
    ]

    assert [7, 30] == timeouts


@pytest.mark.parametrize(
    ("urls", "problem"),
    [
        ([FCM_URL, FCM_URL], "two fcm:// URLs for one app"),
        ([FCM_URL, "smtp://x"], "joined by ' && ', and each begins with one of fcm://, apns://, webpush://"),
        ([FCM_URL, ""], "joined by ' && '"),
        ([FCM_URL, "apns://?key=x"], "key is not the content of a .p8 file"),
    ],
)
def test_what_is_wrong_with_several_urls(urls, problem):
    """As for one."""
    with pytest.raises(ConfigurationError) as raised:
        channel_of(*urls)

    assert problem in str(raised.value)


async def test_a_person_with_devices_of_all_kinds():
    """From the registration to the requests; the browser that is gone is not asked again."""
    token = Reply(status=200, body=b'{"access_token": "ya29.x", "expires_in": 3599}')
    async with AsyncExitStack() as stack:
        google, fcm, shop, driver, browsers = [
            await stack.enter_async_context(VendorServer(reply))
            for reply in (
                token,
                Reply(status=200, body=b'{"name": "m-1"}'),
                *[Reply(status=200, headers={"apns-id": "a-1"})] * 2,
                Reply(status=410),
            )
        ]
        other = APNS_URL.replace("org.example.shop", "org.example.driver")
        push = " && ".join(
            [
                f"{fcm_url(google.url)}&endpoint={fcm.url}",
                f"{APNS_URL}&endpoint={shop.url}",
                f"{other}&app=driver&endpoint={driver.url}",
                f"{WEBPUSH_URL}&endpoint={browsers.url}",
            ]
        )
        kit = await stack.enter_async_context(Notifykit("memory://", push=push))
        await kit.recipients.save(ADA, tenant=ACME)
        tokens = ((FCM_TOKEN, None), (APNS_TOKEN, "shop"), ("ab" * 32, "driver"), (json.loads(subscription()), None))
        for device, app in tokens:
            await kit.recipients.register_device(ADA, device, tenant=ACME, app=app)

        dispatcher = kit.dispatcher()
        for _ in range(2):
            await kit.apublish(Event(type="order.shipped", data={}), tenant=ACME, to=[ADA], channels=["push"])
            while await dispatcher.step():
                pass
        await dispatcher._channels["push"].aclose()

        person = await kit.recipients.get(ADA, tenant=ACME)

    assert [f"/3/device/{APNS_TOKEN}", f"/3/device/{'ab' * 32}"] == [shop.requests[0].path, driver.requests[0].path]
    assert [1, 2, 2, 2, 1] == [len(server.requests) for server in (google, fcm, shop, driver, browsers)]
    assert ["active"] * 3 + ["gone"] == [each.state for each in person.addresses]
    assert "webpush_410" == person.addresses[-1].reason
