"""Devices of a recipient: they come, get other tokens, and go."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from notifykit import InvalidInputError, NotFoundError, Notifykit
from notifykit.models.addresses import AddressState

ACME, ADA = "acme", "user:42"
PHONE, OTHER, TABLET = (f"device-{name}:APA91b" + "x" * 20 for name in ("phone", "other", "tablet"))
BROWSER = {"endpoint": "https://fcm.googleapis.com/x", "keys": {"p256dh": "B" * 87, "auth": "a" * 22}}


@pytest.fixture
async def devices(kit):
    """The recipients of a kit, with one that has a telephone."""
    await kit.recipients.save(ADA, tenant=ACME, email="ada@example.org")
    await kit.recipients.register_device(ADA, PHONE, tenant=ACME, platform="android", app="shop")
    return kit.recipients


def texts(recipient):
    return [f"{each.address[:12]} {each.app} {each.platform} {each.state}" for each in recipient.addresses_on("push")]


async def test_a_device_is_registered_with_each_start_of_the_app(devices):
    """It changes nothing and writes nothing, unless more is said."""
    first = await devices.register_device(ADA, PHONE, tenant=ACME)
    again = await devices.register_device(ADA, f" {PHONE}\n", tenant=ACME, platform="ios")

    assert ["device-phone shop android active"] == texts(first)
    assert ["device-phone shop ios active"] == texts(again)
    assert (2, 3) == (first.version, again.version)
    assert ["ada@example.org"] == [each.address for each in again.addresses_on("email")]


async def test_a_token_is_replaced(devices):
    """In its place, with what is known of the device; the old one is not used again."""
    await devices.register_device(ADA, TABLET, tenant=ACME)
    await devices.suppress(ADA, "push", PHONE, tenant=ACME, purposes=["marketing"])

    for _ in range(2):
        found = await devices.register_device(ADA, OTHER, tenant=ACME, replaces=PHONE)
        assert ["device-other shop android active", "device-table None None active"] == texts(found)
        assert [OTHER] == [each.address for each in found.suppressions]

    both = await devices.register_device(ADA, OTHER, tenant=ACME, replaces=TABLET)
    assert ["device-other shop android active"] == texts(both)


async def test_a_browser_is_a_device(devices):
    """Its subscription is given as the page sent it, parsed or not."""
    await devices.register_device(ADA, BROWSER, tenant=ACME, platform="web")
    text = f'{{"endpoint":"https://fcm.googleapis.com/x","keys":{{"auth":"{"a" * 22}","p256dh":"{"B" * 87}"}}}}'
    found = await devices.register_device(ADA, text, tenant=ACME)

    assert [PHONE, text] == [each.address for each in found.addresses_on("push")]
    assert ["device-phone shop android active"] == texts(await devices.unregister_device(ADA, BROWSER, tenant=ACME))


async def test_a_token_that_was_gone_comes_back_with_its_device(devices, clock):
    """Others that are gone go, so that they do not become more and more; mailboxes stay as they are."""
    await devices.register_device(ADA, TABLET, tenant=ACME)
    await devices.mark_gone(ADA, "email", "ada@example.org", tenant=ACME)
    for token in (PHONE, TABLET):
        await devices.mark_gone(ADA, "push", token, tenant=ACME)
    clock.advance(timedelta(days=1))

    found = await devices.register_device(ADA, PHONE, tenant=ACME)

    assert ["device-phone shop android active"] == texts(found)
    assert ("registered again", clock.now()) == (found.addresses[1].reason, found.addresses[1].changed_at)
    assert AddressState.GONE is found.addresses[0].state


async def test_a_suppressed_device_stays_so(devices):
    """Until an operator allows it; also with another token."""
    await devices.suppress(ADA, "push", PHONE, tenant=ACME)
    found = await devices.register_device(ADA, OTHER, tenant=ACME, replaces=PHONE)

    assert ["device-other shop android suppressed"] == texts(found)


async def test_a_device_is_unregistered(devices):
    """Signing out twice does no harm; suppressions go with the token."""
    await devices.suppress(ADA, "push", PHONE, tenant=ACME, purposes=["marketing"])
    versions = []
    for _ in range(2):
        found = await devices.unregister_device(ADA, PHONE, tenant=ACME)
        assert ([], ()) == (texts(found), found.suppressions)
        versions.append(found.version)

    assert versions[0] == versions[1]


async def test_changes_at_the_same_time_are_all_made(devices):
    """Several devices start at once."""
    tokens = [f"device-{number}:APA91b" + "x" * 20 for number in range(8)]
    await asyncio.gather(
        devices.register_device(ADA, OTHER, tenant=ACME, replaces=PHONE),
        *(devices.register_device(ADA, token, tenant=ACME) for token in tokens),
    )

    found = await devices.get(ADA, tenant=ACME)
    assert sorted([OTHER, *tokens]) == sorted(each.address for each in found.addresses_on("push"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"token": 7}, "token: must be text"),
        ({"token": "x" * 5000}, "token: has 5000 characters, at most 4096"),
        ({"token": "short"}, "token: is neither"),
        ({"token": {"endpoint": "x"}}, "token: a browser's subscription"),
        ({"token": PHONE, "replaces": []}, "replaces: must be text"),
        ({"token": PHONE, "app": ""}, "app: "),
    ],
)
async def test_what_is_refused(devices, arguments, problem):
    """The argument is named."""
    with pytest.raises(InvalidInputError) as raised:
        await devices.register_device(ADA, tenant=ACME, **arguments)

    assert problem in str(raised.value)


async def test_nobody_is_made_by_a_device(devices):
    """A misspelt id would be a person of whom nothing else is known."""
    with pytest.raises(NotFoundError):
        await devices.register_device("user:43", PHONE, tenant=ACME)
    with pytest.raises(NotFoundError):
        await devices.unregister_device("user:43", PHONE, tenant=ACME)


def test_sync_code_has_the_same():
    """In the blocking facade."""
    kit = Notifykit("memory://")
    kit.blocking.recipients.save(ADA, tenant=ACME)
    kit.blocking.recipients.register_device(ADA, PHONE, tenant=ACME)
    found = kit.blocking.recipients.unregister_device(ADA, PHONE, tenant=ACME)
    kit.close()

    assert () == found.addresses
