"""Chat through Apprise, which posts to a real server here."""

from __future__ import annotations

import logging
from datetime import timedelta

import attrs
import pytest

from notifykit import ConfigurationError, InvalidInputError, MissingExtraError
from notifykit.channels import provider_channel_from_url
from notifykit.channels.chat import apprise
from notifykit.channels.messages import MessageChannel
from notifykit.models.messages import ChatMessage, Message, SmsMessage
from notifykit.models.outcome import (
    NO_ANSWER,
    Accepted,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Transient,
    Uncertain,
    Unsent,
)
from notifykit.testing import START, Reply, VendorServer
from notifykit.testing.suites.provider import make_claim

#: Apprise imports all its services, and some of those what is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def channel_of(url: str) -> MessageChannel:
    channel = provider_channel_from_url("chat", url)
    assert isinstance(channel, MessageChannel)
    return channel


async def send(
    channel: MessageChannel, address: str, message: Message | None = None, *, timeout: float = 20
) -> Outcome:
    to = channel.destination(tenant="acme", subscriber_id="room:5", address=address)
    to = attrs.evolve(to, timeout=timedelta(seconds=timeout))
    message = message or ChatMessage(text="It is here ✓")
    return await channel.provider.send(message, make_claim("chat", address), to, now=START)


@pytest.mark.interop
async def test_posts_and_says_what_apprise_says():
    """A success, and a failure that concerns this service alone."""
    with VendorServer(Reply(status=200)) as server:
        channel = channel_of("apprise://?schemas=json")
        address = channel.check_address(f" {server.url.replace('http', 'json')}/room ")
        accepted = await send(channel, address)
        server.reply(500)
        failed = await send(channel, address)
        await channel.aclose()

    assert Accepted() == accepted
    assert Transient(reason="apprise_failed", circuit=CircuitEffect.NONE) == failed
    assert "It is here ✓" == server.requests[0].json()["message"]


async def test_a_thread_that_hangs():
    """What was begun is uncertain; what waits for a thread has not been sent."""
    with VendorServer(Reply(status=200, delay=timedelta(seconds=0.5))) as server:
        channel = channel_of("apprise://?schemas=json&connections=1")
        address = server.url.replace("http", "json")
        await send(channel, address)

        assert Uncertain(reason="timeout") == await send(channel, address, timeout=0.1)
        assert Unsent(reason="connection_limit") == await send(channel, address, timeout=0.01)
        await channel.aclose()


@pytest.mark.parametrize("address", ["xml://127.0.0.1/room", "json", "tgram://s3cret", "json://a\nb", ""])
async def test_what_is_no_address(address, caplog):
    """A service that the operator has not listed, or what Apprise does not accept; secrets are not logged."""
    caplog.set_level(logging.DEBUG)
    channel = channel_of("apprise://?schemas=JSON,tgram")

    with pytest.raises(InvalidInputError, match="address"):
        channel.check_address(address)
    outcome = await send(channel, address)

    assert BadRecipient(reason="invalid_address") == attrs.evolve(outcome, answer=NO_ANSWER)
    assert "s3cret" not in caplog.text
    await channel.aclose()


async def test_another_message_is_an_error_of_the_program():
    """A renderer made it."""
    channel = channel_of("apprise://?schemas=json")

    with pytest.raises(TypeError, match="carries a ChatMessage, not a SmsMessage"):
        await send(channel, "json://127.0.0.1", SmsMessage(text=""))
    await channel.aclose()


@pytest.mark.parametrize("url", ["apprise://", "apprise://?schemas=", "apprise://?schemas=a-b,json"])
def test_the_services_must_be_listed(url):
    """The error says how."""
    with pytest.raises(ConfigurationError, match="schemas= is which services"):
        channel_of(url)


def test_the_extra_is_named(monkeypatch):
    """Without Apprise."""
    monkeypatch.setattr(apprise, "find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match="apprise"):
        channel_of("apprise://?schemas=json")
