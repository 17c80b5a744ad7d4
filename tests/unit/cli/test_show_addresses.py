"""Commands mask people's addresses, as text and in JSON, unless they are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from notifykit import Event, EventType, Notifykit, Step
from notifykit.cli.privacy import hidden, masked
from notifykit.models.recipient import RecipientAddress
from notifykit.testing.smtp import FakeSmtpServer
from tests.unit.cli.driving import Command

ADA = "ada.lovelace@example.org"
SAID = f"554 5.7.1 <{ADA}>: refused"


@pytest.fixture
def told(cli: Command, store_url: str) -> tuple[str, str, str]:
    """A person who was to be told of an event, and whose mail server refused; a subscription of a mailbox."""

    async def tell() -> tuple[str, str, str]:
        types = [EventType(name="order.shipped", steps=[Step("email")])]
        with FakeSmtpServer() as server:
            server.reply("RCPT", SAID, to=ADA)
            async with Notifykit(store_url, event_types=types, email=server.url) as kit:
                await kit.sync_event_types()
                await kit.recipients.save("user:42", tenant="default", email=ADA)
                subscription = await kit.subscriptions.create(
                    "invoice.*", tenant="default", subscriber="user:42", channel="email", address=ADA
                )
                receipt = await kit.apublish(Event(type="order.shipped", data={}, to="user:42"), tenant="default")
                async with kit.dispatcher() as dispatcher:
                    await dispatcher.drained()
                (delivery,) = await kit.deliveries.list(tenant="default")
        return receipt.event_id, delivery.id, subscription.id

    cli("migrate")
    return asyncio.run(tell())


@pytest.mark.parametrize(
    ("command", "where"),
    [
        (["recipients", "list"], "both"),
        (["recipients", "show", "user:42"], "both"),
        (["subscriptions", "list"], "json"),
        (["subscriptions", "show", "{2}"], "both"),
        (["deliveries", "list"], "json"),
        (["deliveries", "show", "{1}"], "both"),
        (["dead", "list"], "json"),
        (["events", "show", "{0}"], "json"),
        (["explain", "{0}"], "json"),
        (["explain", "{0}", "--recipient", "user:42"], "both"),
    ],
)
def test_addresses_are_masked(cli: Command, told: tuple[str, ...], command: Sequence[str], where: str) -> None:
    """A provider's answer that repeats the address, too."""
    chosen = [part.format(*told) for part in command]

    text, record = cli(*chosen), cli(*chosen, "--json")
    full, full_record = cli("--show-addresses", *chosen), cli(*chosen, "--json", "--show-addresses")

    assert (0, 0) == (text.code, record.code)
    assert ADA not in text.out + record.out
    assert "a***@example.org" in record.out
    assert ADA in full_record.out
    assert (where == "both") is (ADA in full.out) is ("a***@example.org" in text.out)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ada@example.org", "a***@example.org"),
        ("+4915123456789", "+491***89"),
        ("12345678", "***"),
        ("", "***"),
        ("https://user@hooks.slack.com/services/T0/B0/secret", "http***et"),
        ('{"endpoint": "https://push.example/x@y"}', '{"en***"}'),
    ],
)
def test_what_is_left_of_an_address(address: str, expected: str) -> None:
    """Enough to recognize it, and not enough to use it."""
    assert expected == masked(address)


def test_a_masked_record_is_another_one() -> None:
    """The one that is masked stays as it is."""
    given = RecipientAddress(channel="email", address=ADA)

    shown = hidden([given, {"address": "x"}, None, 7])

    assert (ADA, "a***@example.org") == (given.address, shown[0].address)  # type: ignore[union-attr]
