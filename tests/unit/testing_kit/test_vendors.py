"""The servers that stand in for vendors: what each address names happens, through the real provider."""

from __future__ import annotations

import asyncio
import time
from base64 import b64decode
from datetime import timedelta
from urllib.parse import parse_qsl

import attrs
import pytest
from sendgrid.helpers.eventwebhook import EventWebhook
from twilio.request_validator import RequestValidator

from notifykit import ConfigurationError, DeliveryFilter, Event, Notifykit
from notifykit.channels import messages, provider_channel_from_url
from notifykit.channels.messages import MessageChannel
from notifykit.models.messages import ChatMessage, EmailMessage, Message, SmsMessage
from notifykit.models.outcome import (
    Accepted,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
)
from notifykit.policies.simulation import simulated_name
from notifykit.testing import START, Receiver
from notifykit.testing.suites.provider import make_claim
from notifykit.testing.vendors import (
    DiscordServer,
    MailgunServer,
    PostmarkServer,
    SendGridServer,
    SesServer,
    SimulatedVendor,
    SlackServer,
    SnsServer,
    TeamsServer,
    TwilioServer,
    VonageServer,
    base,
)

MESSAGES: dict[str, Message] = {
    "email": EmailMessage(subject="Grüße", text="Dear Ada", html="<p>Dear Ada</p>"),
    "sms": SmsMessage(text="It is here ✓"),
    "chat": ChatMessage(text="It is here ✓"),
}
VENDORS = [
    DiscordServer,
    MailgunServer,
    PostmarkServer,
    SendGridServer,
    SesServer,
    SlackServer,
    SnsServer,
    TeamsServer,
    TwilioServer,
    VonageServer,
]


@attrs.frozen
class Sender:
    """Sends through the real provider."""

    server: SimulatedVendor
    channel: MessageChannel

    async def send(self, name: str = "delivered", timeout: float = 5) -> Outcome:
        """Make one attempt."""
        address = self.channel.check_address(self.server.address(name))
        destination = self.channel.destination(tenant="acme", subscriber_id="user:42", address=address)
        destination = attrs.evolve(destination, timeout=timedelta(seconds=timeout))
        claim = make_claim(self.channel.name, address)
        return await self.channel.provider.send(MESSAGES[self.channel.name], claim, destination, now=START)


def channel_of(server: SimulatedVendor) -> MessageChannel:
    channel = provider_channel_from_url(server.channel, server.provider_url)
    assert isinstance(channel, MessageChannel)
    return channel


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.__name__)
async def sender(request):
    """A vendor's server, and the provider that sends to it."""
    with request.param(clock=START.timestamp) as server:
        channel = channel_of(server)
        yield Sender(server, channel)
        await channel.aclose()


async def test_a_message_is_taken(sender):
    """The provider keeps the id that the server made up."""
    outcome = await sender.send()

    assert isinstance(outcome, Accepted)
    (message,) = sender.server.expect_messages(1)
    assert outcome.answer.reference in (message.reference, None)
    assert sender.server.address().endswith(message.to)


async def test_what_an_address_names(sender):
    """The outcome is that of the vendor's own code."""
    expected = {
        "bounce": Accepted,
        "invalid": BadRecipient,
        "rejected": Permanent,
        "throttled": Throttled,
        "unavailable": Transient,
        "uncertain": Uncertain,
        "deferred": Accepted,
        "complaint": Accepted,
    }
    if isinstance(sender.server, SesServer):
        expected["invalid"] = Permanent  # it has no code for an address: it says so later

    found = {name: type(await sender.send(name)) for name in expected}

    assert expected == found
    assert ["bounce", "uncertain", "deferred", "complaint"] == [
        simulated_name(message.to) for message in sender.server.messages
    ]


async def test_a_throttled_request_is_told_when_to_come_back(sender):
    """``Retry-After`` in seconds."""
    sender.server.retry_after = 7
    sender.server.fail("throttled")

    outcome = await sender.send()

    assert isinstance(outcome, Throttled)
    if not isinstance(sender.server, VonageServer):  # it names no pause
        assert timedelta(seconds=7) == outcome.retry_after


async def test_a_wrong_key_is_refused(sender):
    """It opens the circuit, and nothing is taken."""
    if sender.channel.name == "chat":
        pytest.skip("a room's URL is the only credential")
    url = sender.server.provider_url.replace("simulated-", "stolen-").replace("-simulated", "-stolen")
    channel = provider_channel_from_url(sender.channel.name, url)
    assert isinstance(channel, MessageChannel)
    outcome = await Sender(sender.server, channel).send()
    await channel.aclose()

    assert isinstance(outcome, Transient)
    assert CircuitEffect.OPEN is outcome.circuit
    assert 0 == sender.server.total


async def test_an_account_can_be_checked(sender):
    """As that of a real vendor; a refused key is told."""
    if sender.channel.name == "chat":
        pytest.skip("a room's URL is the only credential")
    said = await sender.channel.provider.check()
    sender.server.fail("unauthorized")

    assert said.startswith(f"{sender.channel.provider.account}, ")
    with pytest.raises(ConfigurationError, match="the vendor refused"):
        await sender.channel.provider.check()
    assert 0 == sender.server.total


async def test_a_fault_lasts_as_long_as_it_is_told_to(sender):
    """Some requests, or all until the vendor recovers; a key that is refused is one of the faults."""
    server = sender.server
    server.fail("unavailable", times=None)
    server.fail("unauthorized")

    outcomes = [await sender.send(), await sender.send(), await sender.send()]
    server.recover()
    outcomes.append(await sender.send())

    assert [Transient, Transient, Accepted] == [type(outcome) for outcome in outcomes[1:]]
    if sender.channel.name != "chat":  # where a refused URL is that of one room
        assert [CircuitEffect.OPEN, CircuitEffect.COUNT, CircuitEffect.COUNT] == [each.circuit for each in outcomes[:3]]


async def test_half_an_answer(sender):
    """The message was taken; whether the outcome says so depends on which half came."""
    sender.server.fail("half")

    assert isinstance(await sender.send(), Uncertain | Accepted)
    assert 1 == sender.server.total
    assert isinstance(await sender.send(), Accepted)


async def test_a_slow_answer(sender, monkeypatch):
    """It comes later than the deadline of the attempt."""
    monkeypatch.setattr(base, "SLOW", timedelta(seconds=30))

    assert isinstance(await sender.send(), Accepted)  # the first one reads certificates, which takes a while

    assert Uncertain(reason="timeout") == await sender.send("slow", timeout=0.1)
    assert 2 == sender.server.total


async def test_more_than_the_rate_is_throttled():
    """A token bucket that holds a second's worth."""
    with TwilioServer(rate=2) as server:
        channel = channel_of(server)
        outcomes = [await Sender(server, channel).send() for _ in range(4)]
        await channel.aclose()

    assert [Accepted, Accepted] == [type(outcome) for outcome in outcomes[:2]]
    assert isinstance(outcomes[-1], Throttled)


# -- receipts --------------------------------------------------------------------------------------


async def receipts_of(sender, name):
    """Return what the vendor posts of a message to a receiver."""
    await sender.send(name)
    with Receiver() as receiver:
        sender.server.post_receipts(receiver.url)
        return receiver.url, receiver.requests


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("delivered", ["delivered"]),
        ("bounce", ["bounce"]),
        ("deferred", ["deferred", "delivered"]),
        ("complaint", ["delivered", "spamreport"]),
    ],
)
async def test_sendgrid_signs_its_events(name, events):
    """SendGrid's own package accepts them."""
    with SendGridServer() as server:
        channel = channel_of(server)
        _, requests = await receipts_of(Sender(server, channel), name)
        await channel.aclose()

    theirs = EventWebhook(server.public_key)
    found = []
    for request in requests:
        prefix = "x-twilio-email-event-webhook"
        signature, at = request.header(f"{prefix}-signature"), request.header(f"{prefix}-timestamp")
        assert theirs.verify_signature(request.body.decode(), signature, at)
        assert not theirs.verify_signature(request.body.decode() + " ", signature, at)
        assert abs(time.time() - int(at)) < 60
        (event,) = request.json()
        assert server.messages[0].delivery_id == event["delivery_id"]
        assert event["sg_message_id"].startswith(server.messages[0].reference)
        found.append(event["event"])
    assert events == found
    assert b64decode(server.public_key)


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("delivered", [("delivered", None)]),
        ("bounce", [("undelivered", "30005")]),
        ("deferred", [("sent", None), ("delivered", None)]),
    ],
)
async def test_twilio_signs_its_callbacks(name, statuses):
    """Twilio's own package accepts them."""
    with TwilioServer() as server:
        channel = channel_of(server)
        url, requests = await receipts_of(Sender(server, channel), name)
        await channel.aclose()

    found = []
    for request in requests:
        fields = dict(parse_qsl(request.body.decode()))
        assert RequestValidator(server.token).validate(url, fields, request.header("x-twilio-signature"))
        assert server.messages[0].reference == fields["MessageSid"]
        found.append((fields["MessageStatus"], fields.get("ErrorCode")))
    assert statuses == found


async def test_a_person_answers_a_text():
    """With the same signature as callbacks have."""
    with TwilioServer() as server:
        channel = channel_of(server)
        await Sender(server, channel).send()
        await channel.aclose()
        stop = server.answered(server.messages[0], "STOP", "https://app.example/inbound")

    fields = dict(parse_qsl(stop.body.decode()))
    theirs = RequestValidator(server.token)
    assert ("STOP", server.messages[0].to) == (fields["Body"], fields["From"])
    assert theirs.validate("https://app.example/inbound", fields, stop.headers["x-twilio-signature"])


# -- simulated addresses never reach a vendor ------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "address", "state", "reason"),
    [
        (SendGridServer, "delivered@simulated.invalid", "delivered", None),
        (SendGridServer, "bounce+42@Simulated.invalid", "dead", "simulated_bounce"),
        (TwilioServer, "+44 7700 900006", "dead", "uncertain"),
        (TwilioServer, "simulated:rejected", "dead", "simulated_rejected"),
    ],
)
async def test_a_simulated_address_in_production(server, address, state, reason):
    """The whole path runs with the real provider, which is never asked."""
    with server() as vendor:
        channel = vendor.channel
        async with Notifykit("memory://", **{channel: vendor.provider_url}) as kit:
            await kit.subscriptions.create(
                "order.*", tenant="acme", subscriber="user:42", channel=channel, address=address
            )
            receipt = await kit.apublish(Event(type="order.shipped", data={"order": "A-1"}), tenant="acme")
            async with kit.dispatcher() as dispatcher:
                await dispatcher.drained()
            (delivery,) = await kit.deliveries.list(DeliveryFilter(event_id=receipt.event_id), tenant="acme")

        assert (state, reason) == (delivery.state.value, delivery.reason)
        assert [] == vendor.requests


async def test_a_slow_address_takes_a_while(monkeypatch):
    """But no longer than an attempt may; a check of the address leaves it as it is."""
    monkeypatch.setattr(messages, "SLOW", timedelta(seconds=30))
    with TwilioServer() as vendor:
        channel = channel_of(vendor)
        address = channel.check_address("simulated:slow")
        to = channel.destination(tenant="acme", subscriber_id="user:42", address=address)
        to = attrs.evolve(to, timeout=timedelta(milliseconds=20))
        claim = make_claim("sms", address)._replace(body=b'{"data":{}}')

        async with asyncio.timeout(5):
            assert isinstance(await channel.send(claim, to, now=START), Accepted)
        assert None is to.circuit_key
        await channel.aclose()
