"""Chat: which rooms are accepted, what each vendor is sent, and what its answers mean."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import attrs
import pytest

from notifykit import InvalidInputError
from notifykit.channels import provider_channel_from_url
from notifykit.channels.chat import discord, slack
from notifykit.channels.http_answers import Meaning
from notifykit.channels.messages import MessageChannel
from notifykit.models.messages import ChatMessage, SmsMessage
from notifykit.models.outcome import (
    NO_ANSWER,
    Accepted,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
)
from notifykit.testing import ProviderSuite, Reply

NONE = CircuitEffect.NONE
SLACK = "https://hooks.slack.com/services/T012AB/B345CD/s3cretTOKEN"
TEAMS = "https://prod-12.westeurope.logic.azure.com/workflows/0a1b/triggers/manual/paths/invoke?api-version=2016-06-01&sig=s3cret"
DISCORD = "https://discord.com/api/webhooks/123456/s3cret-TOKEN_1"


def outcome_for(meaning: Meaning, reason: str) -> Outcome:
    """Return what follows from a code of a vendor's table."""
    if meaning is Meaning.TRANSIENT:
        return Transient(reason=reason)
    return BadRecipient(reason=reason) if meaning is Meaning.BAD_RECIPIENT else Permanent(reason=reason)


def channel_of(url: str) -> MessageChannel:
    """Return the channel of a vendor's URL."""
    channel = provider_channel_from_url("chat", url)
    assert isinstance(channel, MessageChannel)
    return channel


class ChatSuite(ProviderSuite):
    """What is the same for all vendors: the URL of the room is the credential, and concerns that room alone."""

    channel = "chat"
    message = ChatMessage(text="Grüße & <!channel> @everyone\n[click](https://a.example)")

    async def test_a_refused_key_opens_the_circuit(self, server, sender):
        """The other rooms stay in use: it opens none."""
        server.reply(401, 403)

        assert Permanent(reason="http_401") == attrs.evolve(await sender.send(), answer=NO_ANSWER)
        assert Permanent(reason="http_403") == attrs.evolve(await sender.send(), answer=NO_ANSWER)

    async def test_a_rate_limit_concerns_one_room(self, server, sender):
        """The circuit of the others does not count it."""
        server.reply(Reply(status=429, headers={"Retry-After": "3"}))

        outcome = attrs.evolve(await sender.send(), answer=NO_ANSWER)

        assert Throttled(reason="http_429", retry_after=timedelta(seconds=3), circuit=NONE) == outcome

    async def test_the_room_shows_in_no_log(self, server, sender, caplog):
        """Its URL is a secret."""
        caplog.set_level(logging.DEBUG)

        await sender.send()

        assert "s3cret" not in caplog.text
        assert 1 == len(server.requests)

    async def test_an_address_that_another_program_stored(self, server, sender):
        """It is checked again before each attempt: no other host is ever called."""
        destination = sender.channel.destination(tenant="acme", subscriber_id="room", address="https://10.0.0.1/")
        outcome = await sender.channel.provider.send(self.message, None, destination, now=None)

        assert "invalid_address" == outcome.reason
        assert not server.requests

    async def test_what_is_no_chat_message(self, sender):
        """A renderer that makes something else is a programming error."""
        destination = sender.channel.destination(tenant="acme", subscriber_id="room", address=self.address)
        with pytest.raises(TypeError, match="carries a ChatMessage, not a SmsMessage"):
            await sender.channel.provider.send(SmsMessage(text=""), None, destination, now=None)


class TestSlack(ChatSuite):
    """Slack's incoming webhooks."""

    url = "slack://"
    address = SLACK
    success = Reply(status=200, body=b"ok")
    outcomes = (
        *(
            (
                Reply(status=500 if code.meaning is Meaning.TRANSIENT else 400, body=text.encode()),
                outcome_for(code.meaning, f"slack_{text}"),
            )
            for text, code in slack.CODES.items()
        ),
        (Reply(status=404, body=b"<html>"), Permanent(reason="http_404")),
        (Reply(status=200, body=b"<html>"), Uncertain(reason="unexpected_answer")),
        (Reply(status=408), Transient(reason="http_408", circuit=NONE)),
    )

    def check_request(self, request):
        assert "/services/T012AB/B345CD/s3cretTOKEN" == request.path
        assert {"text": "Grüße &amp; &lt;!channel&gt; @everyone\n[click](https://a.example)"} == request.json()


class TestTeams(ChatSuite):
    """Workflows of Teams, and the connectors before them."""

    url = "teams://"
    address = TEAMS
    success = Reply(status=202)
    outcomes = (
        (Reply(status=200, body=b"1"), Accepted()),
        (Reply(status=400, body=b'{"error":{"code":"WorkflowTriggerIsNotEnabled"}}'), Permanent(reason="http_400")),
        (Reply(status=404), BadRecipient(reason="http_404")),
        (Reply(status=410), BadRecipient(reason="http_410")),
        *(
            (
                Reply(
                    status=200, body=b"Webhook message delivery failed with error: ... returned HTTP error %d" % status
                ),
                outcome,
            )
            for status, outcome in (
                (429, Throttled(reason="http_429", circuit=NONE)),
                (503, Transient(reason="http_503", circuit=NONE)),
                (413, Permanent(reason="http_413")),
            )
        ),
    )

    def check_request(self, request):
        assert TEAMS.removeprefix("https://prod-12.westeurope.logic.azure.com") == request.path
        body = request.json()
        (attachment,) = body["attachments"]
        assert ("message", "application/vnd.microsoft.card.adaptive") == (body["type"], attachment["contentType"])
        lines = [block["text"] for block in attachment["content"]["body"]]
        assert ["Grüße & <!channel> @everyone", "\\[click](https://a.example)"] == lines


class TestDiscord(ChatSuite):
    """Discord's webhooks."""

    url = "discord://"
    address = f"{DISCORD}?thread_id=7"
    success = Reply(status=200, body=b'{"id": "42"}')
    reference = "42"
    outcomes = (
        *(
            (
                Reply(status=400, body=json.dumps({"code": number}).encode()),
                outcome_for(code.meaning, f"discord_{number}"),
            )
            for number, code in discord.CODES.items()
        ),
        (Reply(status=404, body=b'{"code": 0}'), Permanent(reason="http_404")),
        (Reply(status=204), Uncertain(reason="unexpected_answer")),
        (
            Reply(status=429, body=b'{"retry_after": 0.5, "global": false}'),
            Throttled(reason="http_429", retry_after=timedelta(seconds=0.5), circuit=NONE),
        ),
        (Reply(status=429, body=b'{"retry_after": 1e300}'), Throttled(reason="http_429", circuit=NONE)),
        (Reply(status=429, body=b'{"retry_after": NaN}'), Throttled(reason="http_429", circuit=NONE)),
    )

    def check_request(self, request):
        assert "/api/webhooks/123456/s3cret-TOKEN_1?thread_id=7&wait=true" == request.path
        assert {"content": self.message.text, "allowed_mentions": {"parse": []}} == request.json()

    def test_a_long_text_is_cut(self):
        """Discord would refuse it."""
        (content, _) = discord.Discord().body(ChatMessage(text="x" * 2001)).values()

        assert "x" * 1999 + "…" == content
        assert "x" * 2000 == discord.Discord().body(ChatMessage(text="x" * 2000))["content"]


@pytest.mark.parametrize(
    ("vendor", "address", "expected"),
    [
        ("slack", f" {SLACK} ", SLACK),
        ("slack", SLACK.replace("hooks", "HOOKS").replace(".com", ".com:443"), SLACK),
        ("teams", TEAMS.replace(".com/", ".com:443/"), TEAMS),
        *(
            ("teams", address, address)
            for address in (
                "https://acme.webhook.office.com/webhookb2/0-1@2/IncomingWebhook/3/4",
                "https://default0.a1.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/0/x?sig=1",
            )
        ),
        ("discord", "https://discordapp.com/api/v10/webhooks/1/a", "https://discordapp.com/api/v10/webhooks/1/a"),
        ("discord", f"{DISCORD}?thread_id=7", f"{DISCORD}?thread_id=7"),
    ],
)
def test_the_rooms_of_a_vendor(vendor, address, expected):
    """A URL is stored in one form."""
    channel = channel_of(f"{vendor}://")

    assert expected == channel.check_address(address) == channel.check_address(expected)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "room",
        SLACK.replace("https", "http"),
        SLACK.replace("hooks.slack.com", "hooks.slack.com.evil.example"),
        SLACK.replace("hooks.slack.com", "hooks.slack.com:8443"),
        SLACK.replace("hooks.slack.com", "hooks.slack.com:x"),
        SLACK.replace("hooks.slack.com", "127.0.0.1"),
        SLACK.replace("hooks.slack.com", "hooks.slack.com@127.0.0.1"),
        SLACK.replace("hooks.slack.com", "evil.example\\@hooks.slack.com"),
        SLACK.replace("https://", "https://user@"),
        f"{SLACK}#",
        f"{SLACK}/..",
        f"{SLACK}\r\nX: y",
        SLACK.replace("services", "services/%2e%2e"),
        SLACK.replace("slack", "ſlack"),
        DISCORD,
        TEAMS,
    ],
)
def test_what_is_no_room_of_slack(address):
    """Nothing but the vendor's own hosts, paths and port is accepted; the message does not show the secret."""
    with pytest.raises(InvalidInputError) as raised:
        channel_of("slack://").check_address(address)

    assert "s3cret" not in str(raised.value)
