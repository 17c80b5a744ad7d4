"""What is tested of every push service, beside what is tested of every provider."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, ClassVar

import attrs
import pytest

from notifykit.channels import provider_channel_from_url
from notifykit.channels.http_answers import HttpAnswer, Meaning
from notifykit.channels.push.channel import PushChannel
from notifykit.models.messages import Message, PushMessage, SmsMessage
from notifykit.models.outcome import NO_ANSWER, BadRecipient, CircuitEffect, Outcome, Permanent, Throttled, Transient
from notifykit.testing import START, ProviderSuite, Reply
from notifykit.testing.suites.provider import make_claim


def outcome_for(meaning: Meaning, reason: str, wait: timedelta | None = None) -> Outcome:
    """Return what follows from a code of a table."""
    match meaning:
        case Meaning.THROTTLED:
            return Throttled(reason=reason, retry_after=wait)
        case Meaning.TRANSIENT:
            return Transient(reason=reason, retry_after=wait)
        case Meaning.CONFIGURATION:
            return Transient(reason=reason, circuit=CircuitEffect.OPEN)
        case Meaning.BAD_RECIPIENT:
            return BadRecipient(reason=reason)
        case _:
            return Permanent(reason=reason)


def outcome_of(url: str, reply: Reply) -> Outcome:
    """Return what a service that has sent nothing before makes of an answer."""
    channel = provider_channel_from_url("push", url)
    assert isinstance(channel, PushChannel)
    (service,) = channel._services._services
    answer = HttpAnswer(status=reply.status, headers=reply.headers, body=reply.body)
    return attrs.evolve(service.vendor.outcome(answer, now=START), answer=NO_ANSWER)


class PushSuite(ProviderSuite):
    """A push service.

    Attributes:
        name: The scheme of its URLs.
        key_line: A part of the private key.
    """

    channel = "push"
    message: ClassVar[PushMessage] = PushMessage(
        title="Grüße", body="It is here ✓", url="https://shop.example/1", data={"order": "A-1", "aps": "x"}
    )
    name: str
    key_line: str

    async def send_at(
        self, sender: Any, later: timedelta = timedelta(0), message: Message = message, **claim: Any
    ) -> Outcome:
        """Make an attempt some time after the start."""
        channel = sender.channel
        address = channel.check_address(self.address)
        destination = channel.destination(tenant="acme", subscriber_id="user:42", address=address)
        made = make_claim("push", address)._replace(**claim)
        outcome = await channel.provider.send(message, made, destination, now=START + later)
        return attrs.evolve(outcome, answer=NO_ANSWER)

    async def test_secrets_show_nowhere(self, server, sender, caplog):
        """The key is never sent; what is signed with it is not kept, even if the service repeats it."""
        caplog.set_level(logging.DEBUG)
        await sender.send()
        (request,) = server.requests
        token = request.header("authorization").split()[1].removeprefix("t=").rstrip(",")
        server.reply(*(Reply(status=status, body=token.encode()) for status in (400, 401)))

        outcomes = [await sender.send(), await sender.send()]

        provider = sender.channel.provider
        shown = repr((provider, vars(provider), sender.channel, vars(sender.channel), outcomes))
        for secret in (token, self.key_line):
            assert secret not in shown + provider.account + caplog.text

    async def test_what_is_no_push(self, sender):
        """A renderer that makes something else is a programming error."""
        with pytest.raises(TypeError, match=f"{self.name} carries a PushMessage, not a SmsMessage"):
            await self.send_at(sender, message=SmsMessage(text=""))
