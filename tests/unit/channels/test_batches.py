"""Several messages in one request: what is joined, and the outcome of each."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import attrs
import pytest

from notifykit import ConfigurationError, Event, Notifykit
from notifykit.channels import provider_channel_from_url
from notifykit.channels.email import ses
from notifykit.channels.http_answers import HttpAnswer
from notifykit.channels.http_provider import HttpRequest
from notifykit.channels.messages import MessageChannel
from notifykit.models.messages import EmailMessage
from notifykit.models.outcome import (
    Accepted,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
    Unsent,
)
from notifykit.testing import START, Reply
from notifykit.testing.suites.provider import make_claim
from notifykit.testing.vendors import MailgunServer, PostmarkServer, SendGridServer, SesServer, SimulatedVendor

VENDORS = [MailgunServer, PostmarkServer, SendGridServer, SesServer]
#: What their URLs need so that messages share requests.
OPTIONS = {SesServer: "&batch=50"}


def mail(number: int = 0, **changes) -> EmailMessage:
    """Return an e-mail whose text is the same for all, and whose headers are its recipient's own."""
    message = EmailMessage(
        subject="Grüße %recip",
        text="Dear customer",
        html="<p>Dear customer</p>",
        unsubscribe_url=f"https://shop.example/u/{number}",
    )
    return attrs.evolve(message, **changes)


@attrs.frozen
class Batch:
    """Sends many at the same time."""

    server: SimulatedVendor
    channel: MessageChannel

    async def send(self, *addresses: str, messages=None, timeout: float = 5) -> list[Outcome]:
        """Make an attempt for each address."""
        messages = messages or [mail(number) for number in range(len(addresses))]
        pairs = zip(addresses, messages, strict=True)
        return await asyncio.gather(*(self._send(address, message, timeout) for address, message in pairs))

    async def _send(self, address: str, message: EmailMessage, timeout: float) -> Outcome:
        to = self.channel.destination(tenant="acme", subscriber_id="user:42", address=address)
        to = attrs.evolve(to, timeout=timedelta(seconds=timeout))
        return await self.channel.provider.send(message, make_claim("email", address), to, now=START)


def channel_of(server: SimulatedVendor, options: str = "") -> MessageChannel:
    return channel_of_url(server.provider_url + options)


def channel_of_url(url: str) -> MessageChannel:
    channel = provider_channel_from_url("email", url)
    assert isinstance(channel, MessageChannel)
    return channel


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.__name__)
async def batch(request):
    """A vendor that takes several messages in a request."""
    with request.param() as server:
        channel = channel_of(server, OPTIONS.get(request.param, ""))
        yield Batch(server, channel)
        await channel.aclose()


def people(count: int) -> list[str]:
    return [f"user{number}@example.org" for number in range(count)]


def unsubscribe_of(content) -> str:
    """Return a header of a message, wherever the vendor has its headers."""
    headers = content.get("headers", content)
    if "Headers" in content:
        headers = {each["Name"]: each["Value"] for each in content["Headers"]}
    return str(headers.get("List-Unsubscribe") or headers.get("h:List-Unsubscribe"))


async def test_what_comes_together_is_one_request(batch):
    """Each person gets the own message, and each delivery its reference."""
    outcomes = await batch.send(*people(20))

    assert 1 == len(batch.server.requests)
    assert [Accepted] * 20 == [type(outcome) for outcome in outcomes]
    taken = {message.to: message for message in batch.server.messages}
    assert 20 == len({message.delivery_id for message in taken.values()})
    for number, (address, outcome) in enumerate(zip(people(20), outcomes, strict=True)):
        assert f"<https://shop.example/u/{number}>" == unsubscribe_of(taken[address].content)
        assert taken[address].reference == outcome.answer.reference


async def test_one_recipient_that_is_refused_fails_one_delivery(batch):
    """The others are sent without it, once."""
    addresses = [*people(6), "invalid@example.org", *(f"later{number}@example.org" for number in range(6))]
    outcomes = await batch.send(*addresses)

    refusal = Permanent if isinstance(batch.server, SesServer) else BadRecipient  # SES says so later
    assert [6] == [number for number, outcome in enumerate(outcomes) if isinstance(outcome, refusal)]
    assert 12 == sum(isinstance(outcome, Accepted) for outcome in outcomes)
    assert sorted(set(addresses) - {"invalid@example.org"}) == sorted(each.to for each in batch.server.messages)


@pytest.mark.parametrize(
    ("fault", "expected", "taken"),
    [
        ("throttled", Throttled, 0),
        ("unavailable", Transient, 0),
        ("unauthorized", Transient, 0),
        ("uncertain", Uncertain, 3),
    ],
)
async def test_what_befalls_the_request_befalls_each_of_its_messages(batch, fault, expected, taken):
    """None is sent again by itself."""
    batch.server.fail(fault)

    outcomes = await batch.send(*people(3))

    assert [expected] * 3 == [type(outcome) for outcome in outcomes]
    assert (1, taken) == (len(batch.server.requests), batch.server.total)
    if fault == "unauthorized":
        assert {CircuitEffect.OPEN} == {each.circuit for each in outcomes if isinstance(each, Transient)}


async def test_an_address_twice(batch):
    """Both messages are sent, and vendors that want an address once only are not asked for more."""
    outcomes = await batch.send("ada@example.org", "bob@example.org", "ada@example.org")

    assert [Accepted] * 3 == [type(outcome) for outcome in outcomes]
    assert ["ada@example.org"] * 2 + ["bob@example.org"] == sorted(each.to for each in batch.server.messages)
    assert 3 == len({message.delivery_id for message in batch.server.messages})


async def test_a_text_of_ones_own(batch):
    """Where the text is shared, another one is another request."""
    messages = [mail(0, html=None), mail(1, html=None), mail(2, text="Dear Ada", html=None)]
    await batch.send(*people(3), messages=messages)

    wanted = 1 if isinstance(batch.server, PostmarkServer) else 2
    assert wanted == len(batch.server.requests)
    texts = [str(message.content) for message in batch.server.messages]
    assert [2, 1] == [sum("Dear customer" in text for text in texts), sum("Dear Ada" in text for text in texts)]


async def test_an_answer_that_is_none(batch):
    """Whatever comes, each delivery has an outcome."""
    for reply in (Reply(status=200, body=b"[1]"), Reply(status=200, body=b"[{},{}]"), Reply(status=418)):
        batch.server.reply(reply)
        outcomes = await batch.send(*people(2))
        wanted = Permanent if reply.status == 418 else Uncertain
        assert [wanted] * 2 == [type(outcome) for outcome in outcomes]


async def test_who_waits_for_a_connection_has_sent_nothing(batch):
    """Their attempts do not count; what is under way ends by itself."""
    channel = channel_of(batch.server, f"&connections=1&batch_delay=1{OPTIONS.get(type(batch.server), '')}")
    batch.server.reply(Reply(delay=timedelta(seconds=30)))
    slow = asyncio.create_task(Batch(batch.server, channel).send(*people(1), timeout=0.5))
    await batch.server.aexpect(1)

    (waiting,) = await Batch(batch.server, channel).send("late@example.org", timeout=0.1)

    assert Unsent(reason="connection_limit") == waiting
    assert [Uncertain(reason="timeout")] == await slow
    await channel.aclose()
    assert 1 == len(batch.server.requests)


async def test_a_stop_waits_for_no_answer(batch):
    """Senders that are cancelled leave no request behind that closing would wait for."""
    batch.server.reply(Reply(delay=timedelta(seconds=30)))
    sending = asyncio.create_task(batch.send(*people(3)))
    await batch.server.aexpect(1)
    sending.cancel()

    async with asyncio.timeout(5):
        await batch.channel.aclose()


@pytest.mark.parametrize(("options", "requests"), [("&batch=1", 6), ("&batch=3", 2)])
async def test_how_many_share_a_request_is_an_option(options, requests):
    """One each, or as many as the operator says."""
    with PostmarkServer() as server:
        channel = channel_of(server, options)
        await Batch(server, channel).send(*people(6))
        await channel.aclose()

    assert (requests, 6) == (len(server.requests), server.total)


@pytest.mark.parametrize("option", ["batch=0", "batch=501", "batch=many", "batch_delay=0"])
def test_what_is_no_number(option):
    """The error says which numbers are possible."""
    with pytest.raises(ConfigurationError, match=r"batch\w* is a whole number between 1 and"):
        provider_channel_from_url("email", f"postmark://t@?sender=shop@example.org&{option}")


async def test_mailgun_does_not_fill_in_what_a_text_says():
    """What looks like a variable is sent alone, where it is none."""
    messages = [mail(0), mail(1), *(mail(2, text="%recipient.own0%") for _ in range(2))]
    with MailgunServer() as server:
        channel = channel_of(server)
        await Batch(server, channel).send(*people(4), messages=messages)
        await channel.aclose()

    assert 3 == len(server.requests)


async def test_sendgrid_blames_a_recipient_that_does_not_exist():
    """An index that is none of ours is nobody's: the refusal is that of all."""
    body = {"errors": [{"field": "personalizations.9.to.0.email", "message": "no"}, "error"]}
    with SendGridServer() as server:
        channel = channel_of(server)
        server.reply(Reply(status=400, body=json.dumps(body).encode()))
        outcomes = await Batch(server, channel).send(*people(2))
        server.reply(Reply(status=400, body=json.dumps(body).replace("9.to", "1.subject").encode()))
        mixed = await Batch(server, channel).send(*people(2))
        await channel.aclose()

    assert [BadRecipient] * 2 == [type(outcome) for outcome in outcomes]
    assert [Accepted, Permanent] == [type(outcome) for outcome in mixed]


async def test_postmark_names_each_of_its_refusals():
    """A code of an item means what it means for a message that is sent alone."""
    items = [{"ErrorCode": 0, "MessageID": "m-1"}, {"ErrorCode": 405}, {"ErrorCode": 12345}, {"ErrorCode": 429}]
    with PostmarkServer() as server:
        channel = channel_of(server)
        server.reply(Reply(status=200, body=json.dumps(items).encode()))
        outcomes = await Batch(server, channel).send(*people(4))
        await channel.aclose()

    assert [Accepted, Transient, Permanent, Throttled] == [type(outcome) for outcome in outcomes]
    assert isinstance(outcomes[1], Transient)
    assert CircuitEffect.OPEN is outcomes[1].circuit
    assert b"405" in outcomes[1].answer.body


@pytest.mark.parametrize(
    ("status", "reason"), [(status, f"ses_{name}") for status, name in ses._STATUSES.items()] + [("NEW", "http_400")]
)
def test_ses_names_each_of_its_refusals(status, reason):
    """A status of a batch means what the error of a message that is sent alone means."""
    channel = channel_of_url("ses://AKID:secret@eu-west-1?sender=shop@example.org&batch=50")
    vendor = channel.provider._vendor  # type: ignore[attr-defined]
    results = [{"Status": status}, {"Status": "SUCCESS", "MessageId": "m-1"}]
    body = json.dumps({"BulkEmailEntryResults": results}).encode()
    requests = [HttpRequest(url="", headers={}, body=b"")] * 2

    refused, accepted = vendor.outcomes(HttpAnswer(status=200, body=body), requests, now=START)

    assert reason == refused.reason
    assert "m-1" == accepted.answer.reference
    if reason != "http_400":
        assert type(refused) is type(HttpAnswer(status=400).outcome(ses.CODES[reason[4:]].meaning, now=START))


async def test_ses_does_not_fill_in_what_a_text_says():
    """What looks like a variable is sent alone, and without the option everything is."""
    with SesServer() as server:
        for options, requests in (("&batch=50", 3), ("", 4)):
            server.requests.clear()
            channel = channel_of(server, options)
            messages = [mail(0), mail(1), *(mail(2, text="{{name}}") for _ in range(2))]
            await Batch(server, channel).send(*people(4), messages=messages)
            await channel.aclose()
            assert requests == len(server.requests)


async def test_a_dispatcher_fills_batches(batch):
    """An event that many people are told of is a few requests."""
    url = batch.server.provider_url + OPTIONS.get(type(batch.server), "")
    async with Notifykit("memory://", email=url) as kit:
        for address in people(120):
            await kit.subscriptions.create(
                "order.*", tenant="acme", subscriber=address, channel="email", address=address
            )
        await kit.apublish(Event(type="order.shipped", data={"order": "A-1"}), tenant="acme")
        async with kit.dispatcher() as dispatcher:
            await dispatcher.drained()
        delivered = [each for each in await kit.deliveries.list(tenant="acme", limit=200) if each.state == "delivered"]

    assert (120, 120) == (len(delivered), batch.server.total)
    assert len(batch.server.requests) <= 30
