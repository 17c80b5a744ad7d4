"""What vendors' APIs for e-mail are never sent, and how mailboxes are written for them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from notifykit.channels import provider_channel_from_url
from notifykit.channels.email.address import Mailbox, parse_mailbox
from notifykit.channels.email.parts import shown
from notifykit.channels.messages import MessageChannel
from notifykit.errors import ConfigurationError
from notifykit.models.messages import EmailMessage, Message, SmsMessage
from notifykit.models.outcome import BadRecipient, Outcome, Permanent

from .receivers import NOW, make_claim

URLS = (
    "mailgun://key@mg.example.org?sender=shop@example.org",
    "postmark://key@?sender=shop@example.org",
    "sendgrid://key@?sender=shop@example.org",
    "ses://id:key@eu-west-1?sender=shop@example.org",
)
MAIL = EmailMessage(subject="Hello", text="Hello")


@attrs.frozen
class Person:
    """What the channel reads of a recipient."""

    name: str


async def send(url: str, message: Message, address: str = "ada@example.org", name: str = "Ada") -> Outcome:
    """Hand a message to a provider whose server nobody can reach."""
    channel = provider_channel_from_url("email", f"{url}&endpoint=http://127.0.0.1:1")
    assert isinstance(channel, MessageChannel)
    destination = channel.destination(tenant="acme", subscriber_id="user:42", address=address)
    destination = attrs.evolve(destination, config=Person(name))
    try:
        return await channel.provider.send(message, make_claim(), destination, now=NOW)
    finally:
        await channel.aclose()


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"subject": "a\r\nBcc: x@example.org"}, "subject"),
        ({"text": "half a pair \ud800"}, "text"),
        ({"html": "half a pair \ud800"}, "html"),
        ({"sender": "nobody"}, "sender"),
        ({"reply_to": ("nobody",)}, "reply_to"),
        ({"headers": {"Bcc": "x@example.org"}}, "headers"),
        ({"headers": {"X-Note": "a\nb"}}, "headers"),
        ({"unsubscribe_url": "http://shop.example.org"}, "unsubscribe_url"),
    ],
)
async def test_what_cannot_be_an_email_is_not_sent(url: str, changes: dict[str, Any], field: str) -> None:
    """The delivery ends, and the reason names the part."""
    outcome = await send(url, attrs.evolve(MAIL, **changes))

    assert isinstance(outcome, Permanent)
    assert f"invalid_{field}" == outcome.reason


@pytest.mark.parametrize("url", URLS)
async def test_who_cannot_get_an_email_is_not_sent_one(url: str) -> None:
    """An address that is none, and a name that would be a header."""
    assert isinstance(await send(url, MAIL, address="nobody"), BadRecipient)
    outcome = await send(url, MAIL, name="Ada\r\nBcc: x@example.org")
    assert isinstance(outcome, Permanent)
    assert "invalid_recipient" == outcome.reason


@pytest.mark.parametrize("url", URLS)
async def test_only_emails_are_sent(url: str) -> None:
    """Any other message is a mistake of the program."""
    with pytest.raises(TypeError, match="EmailMessage"):
        await send(url, SmsMessage(text="Hello"))


@pytest.mark.parametrize("url", URLS)
def test_what_a_message_does_not_have_is_left_out(url: str) -> None:
    """No provider is sent an empty HTML form, or options that nobody chose."""
    channel = provider_channel_from_url("email", url)
    assert isinstance(channel, MessageChannel)
    destination = channel.destination(tenant="acme", subscriber_id="user:42", address="ada@example.org")

    request = vars(channel.provider)["_vendor"].request(MAIL, make_claim(), destination, now=NOW)

    for absent in (b"html", b"reply", b"stream", b"configuration", b"null", b"list-unsubscribe"):
        assert absent not in request.body.lower()


@pytest.mark.parametrize("url", URLS)
def test_a_sender_is_needed(url: str) -> None:
    """The error says how to give one."""
    base = url.partition("?")[0]

    with pytest.raises(ConfigurationError, match="sender= is missing"):
        provider_channel_from_url("email", base)
    with pytest.raises(ConfigurationError, match="sender: "):
        provider_channel_from_url("email", f"{base}?sender=nobody")


@pytest.mark.parametrize("name", ["", "Ada", "A, B; <C>", 'The "B" \\ C', "Ädä ✓"])
def test_mailboxes_are_read_back(name: str) -> None:
    """What we write for the APIs means what was meant."""
    mailbox = Mailbox("ada@example.org", name)

    assert mailbox == parse_mailbox(shown(mailbox))
