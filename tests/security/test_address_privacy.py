"""People's addresses are in no line of a log and in no telemetry event, whatever happens to a message."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from notifykit import Event, EventType, Notifykit, Step
from notifykit.channels.receipts import receipt_verifier
from notifykit.policies.simulation import Simulated
from notifykit.telemetry import BouncesUnusual, DeliveryAttempted, ReceiptRecorded, TelemetryEvent
from notifykit.testing.smtp import FakeSmtpServer
from notifykit.testing.vendors import (
    MailgunServer,
    PostmarkServer,
    SendGridServer,
    SesServer,
    SimulatedVendor,
    SnsServer,
    TwilioServer,
    VonageServer,
)

TENANT = "acme"
#: What is in every address of the tests, and nowhere else.
MAILBOX, PHONE = "zoe.private", "1202555"
#: What verifies the receipts of vendors that report.
SECRETS: dict[type[SimulatedVendor], tuple[str, str]] = {
    MailgunServer: ("mailgun", "signing_key"),
    SendGridServer: ("sendgrid", "public_key"),
    TwilioServer: ("twilio", "token"),
    VonageServer: ("vonage", "signature_secret"),
}


def is_told(caplog: pytest.LogCaptureFixture, told: list[TelemetryEvent]) -> bool:
    """Tell whether an address is in what was logged, with its arguments, or in a telemetry event."""
    ours = [record for record in caplog.records if record.name != "mail.log"]  # that of the test's mail server
    logged = [f"{record.getMessage()} {record.args} {record.exc_info}" for record in ours]
    return any(secret in text for text in (*logged, *map(repr, told)) for secret in (MAILBOX, PHONE))


async def send(kit: Notifykit, channel: str, addresses: list[str]) -> None:
    """Tell a person at each address of an event, one after the other."""
    async with kit.dispatcher() as dispatcher:
        for number, address in enumerate(addresses):
            await kit.recipients.save(f"user:{number}", tenant=TENANT, **{channel: address})  # type: ignore[arg-type]
            await kit.apublish(Event(type="order.shipped", data={"order": "A-1"}, to=f"user:{number}"), tenant=TENANT)
            await dispatcher.drained()


def kit_for(channel: str, url: str, told: list[TelemetryEvent]) -> Notifykit:
    types = [EventType(name="order.shipped", steps=[Step(channel)])]
    provider: dict[str, Any] = {channel: url}
    return Notifykit("memory://", event_types=types, subscribers=[told.append], **provider)


@pytest.mark.parametrize(
    "kind", [MailgunServer, PostmarkServer, SendGridServer, SesServer, SnsServer, TwilioServer, VonageServer]
)
async def test_vendors(kind: type[SimulatedVendor], caplog: pytest.LogCaptureFixture) -> None:
    """Taken, refused, throttled, lost, and reported as bounced and complained of."""
    told: list[TelemetryEvent] = []
    caplog.set_level(logging.DEBUG)
    names = [name for name in Simulated if name is not Simulated.SLOW]
    with kind() as vendor:
        mailboxes = [f"{name}+{MAILBOX}@shop.example" for name in names]
        addresses = mailboxes if vendor.channel == "email" else [vendor.address(name) for name in names]
        async with kit_for(vendor.channel, vendor.provider_url, told) as kit:
            await send(kit, vendor.channel, addresses)
            if kind in SECRETS:
                name, secret = SECRETS[kind]
                verifier = receipt_verifier(name, getattr(vendor, secret))
                url, now = "https://shop.example/receipts", datetime.now(UTC)
                for receipt in vendor.receipts(url):
                    await kit.record_receipts(verifier.receipts(receipt.headers, receipt.body, url, now=now))

    assert len([event for event in told if isinstance(event, DeliveryAttempted)]) >= len(names)
    assert (kind in SECRETS) is any(isinstance(event, ReceiptRecorded) for event in told)
    assert not any(isinstance(event, BouncesUnusual) for event in told)
    assert not is_told(caplog, told)


async def test_a_mail_server_that_repeats_the_address(caplog: pytest.LogCaptureFixture) -> None:
    """Its answer is kept with the attempt, and not logged."""
    told: list[TelemetryEvent] = []
    caplog.set_level(logging.DEBUG)
    address = f"{MAILBOX}@shop.example"
    with FakeSmtpServer() as server:
        server.reply("RCPT", f"550 5.1.1 <{address}>: no such user", to=address)
        async with kit_for("email", server.url, told) as kit:
            await send(kit, "email", [address])
            (delivery,) = await kit.deliveries.list(tenant=TENANT)
            (attempt,) = await kit.deliveries.attempts(delivery.id, tenant=TENANT)

    assert address.encode() in attempt.response
    assert told
    assert not is_told(caplog, told)
