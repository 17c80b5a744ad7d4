"""SMS: what each provider is sent, what its answers mean, and what is never sent."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import timedelta
from urllib.parse import parse_qs

import attrs
import pytest

from notifykit import ConfigurationError
from notifykit.channels import provider_channel_from_url
from notifykit.channels.http_answers import Meaning
from notifykit.channels.messages import MessageChannel
from notifykit.channels.sms import sns, twilio, vonage
from notifykit.models.destination import Destination
from notifykit.models.messages import ChatMessage, Message, SmsMessage
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
from notifykit.testing import START, ProviderSuite, Reply, VendorServer
from notifykit.testing.suites.provider import make_claim

SID = "AC" + "0123456789abcdef" * 2
SERVICE = "MG" + "0123456789abcdef" * 2
TOKEN = "to ken/with:signs"
URL_TOKEN = "to%20ken%2Fwith%3Asigns"
NUMBER = "+4915123456789"


def channel_of(url: str) -> MessageChannel:
    """Return the channel of a provider's URL."""
    channel = provider_channel_from_url("sms", url)
    assert isinstance(channel, MessageChannel)
    return channel


async def send(channel: MessageChannel, message: Message, destination: Destination) -> Outcome:
    """Hand a message to the channel's provider."""
    return await channel.provider.send(message, make_claim("sms", NUMBER), destination, now=START)


def reply(value: object, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(value).encode())


def outcome_for(meaning: Meaning, reason: str, wait: timedelta | None = None) -> Outcome:
    """Return what follows from a code of a vendor's table."""
    match meaning:
        case Meaning.ACCEPTED:
            return Accepted()
        case Meaning.THROTTLED:
            return Throttled(reason=reason, retry_after=wait)
        case Meaning.TRANSIENT:
            return Transient(reason=reason)
        case Meaning.CONFIGURATION:
            return Transient(reason=reason, circuit=CircuitEffect.OPEN)
        case Meaning.BAD_RECIPIENT:
            return BadRecipient(reason=reason)
        case _:
            return Permanent(reason=reason)


class SmsSuite(ProviderSuite):
    """What is the same for all SMS providers."""

    channel = "sms"
    address = " +49 (151) 234-56789 "
    message = SmsMessage(text="“Grüße” & 5 € + more")
    name: str

    @pytest.mark.parametrize("status", [500, 503])
    async def test_an_outage_is_transient(self, server, sender, status):
        """An error of the vendor counts against the circuit; what a gateway says is in the tables of outcomes."""
        server.reply(status)

        assert Transient(reason=f"http_{status}") == attrs.evolve(await sender.send(), answer=NO_ANSWER)

    async def test_a_country_that_is_not_allowed(self, server, sender):
        """Toll fraud asks for messages to expensive numbers: nothing is sent."""
        for number in ("+12425550100", "+881612345678"):
            outcome = await attrs.evolve(sender, address=number).send()

            assert isinstance(outcome, Permanent)
            assert "country_not_allowed" == outcome.reason

        assert not server.requests

    async def test_an_address_that_another_program_stored(self, server, sender):
        """It is checked again before each attempt."""
        destination = sender.channel.destination(tenant="acme", subscriber_id="user:42", address="0151 234")
        outcome = await send(sender.channel, self.message, destination)

        assert isinstance(outcome, BadRecipient)
        assert "invalid_address" == outcome.reason
        assert not server.requests

    async def test_what_is_no_sms(self, sender):
        """A renderer that makes something else is a programming error."""
        destination = sender.channel.destination(tenant="acme", subscriber_id="user:42", address=NUMBER)
        with pytest.raises(TypeError, match=f"{self.name} carries an SmsMessage, not a ChatMessage"):
            await send(sender.channel, ChatMessage(text=""), destination)

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ("countries=DE", "from= is whom"),
            ("from=&countries=DE", "from= is whom"),
            ("from=ALongCompanyName&countries=DE", "from= is whom"),
            ("from=Shop", "countries= is missing"),
            ("from=Shop&countries=,", "countries= is missing"),
            ("from=Shop&countries=DE,Germany", "countries= has GERMANY"),
            ("from=Shop&countries=DE&segments=0", "segments is a whole number"),
        ],
    )
    def test_what_is_wrong_with_a_url(self, options, problem):
        """The message says what to write, without the secret."""
        with pytest.raises(ConfigurationError) as raised:
            channel_of(f"{self.url.partition('?')[0]}?{options}")

        assert problem in str(raised.value)
        assert TOKEN not in str(raised.value)


class TestTwilio(SmsSuite):
    """Twilio's Messages API."""

    name = "twilio"
    url = f"twilio://{SID}:{URL_TOKEN}@?from=+4915100000000&countries=DE,at"
    secrets = (TOKEN, b64encode(f"{SID}:{TOKEN}".encode()).decode())
    success = reply({"sid": "SM1", "status": "queued", "num_segments": "1"}, 201)
    reference = "SM1"
    outcomes = (
        *(
            (reply({"code": number, "message": code.text}, 400), outcome_for(code.meaning, f"twilio_{number}"))
            for number, code in twilio.CODES.items()
        ),
        (reply({"code": 20003}, 401), outcome_for(Meaning.CONFIGURATION, "twilio_20003")),
        (reply({"code": 99999}, 400), Permanent(reason="http_400")),
        (reply({"code": "21211"}, 400), Permanent(reason="http_400")),
        (reply({"code": 20500}, 503), Transient(reason="http_503")),
        (Reply(status=404, body=b"<html>"), outcome_for(Meaning.CONFIGURATION, "http_404")),
        (Reply(status=502, body=b"<html>"), Uncertain(reason="http_502")),
        (Reply(status=504, body=b"<html>"), Uncertain(reason="http_504")),
        (Reply(status=201, body=b'{"status": "que'), Uncertain(reason="unexpected_answer")),
        (reply({"sid": ""}, 201), Uncertain(reason="unexpected_answer")),
    )

    def check_request(self, request):
        assert f"/2010-04-01/Accounts/{SID}/Messages.json" == request.path
        assert f"Basic {self.secrets[1]}" == request.header("authorization")
        assert {"To": [NUMBER], "From": ["+4915100000000"], "Body": ['"Grüße" & 5 € + more']} == parse_qs(
            request.body.decode()
        )


class TestTwilioService:
    """A messaging service in place of a sender, an API key in place of the account's token, and no limits."""

    url = f"twilio://SK1:{URL_TOKEN}@?from={SERVICE}&account={SID}&countries=all&segments=1"

    async def test_sends(self):
        """Numbers of any country are allowed, but not more segments than the operator pays for."""
        with VendorServer(TestTwilio.success) as server:
            channel = channel_of(f"{self.url}&endpoint={server.url}")
            destination = channel.destination(tenant="acme", subscriber_id="user:42", address="+12425550100")
            sent = await send(channel, SmsMessage(text="x" * 160), destination)
            refused = await send(channel, SmsMessage(text="x" * 161), destination)
            await channel.aclose()

        assert isinstance(sent, Accepted)
        assert isinstance(refused, Permanent)
        assert "too_many_segments" == refused.reason
        (request,) = server.requests
        assert f"/2010-04-01/Accounts/{SID}/Messages.json" == request.path
        assert {"To": ["+12425550100"], "MessagingServiceSid": [SERVICE], "Body": ["x" * 160]} == parse_qs(
            request.body.decode()
        )

    @pytest.mark.parametrize("sid", ["SK1", "AC1", f"{SID}%2F..", SID.upper()])
    def test_what_is_no_account(self, sid):
        """It becomes a part of a path."""
        with pytest.raises(ConfigurationError, match="an account's SID is AC and"):
            channel_of(f"twilio://{sid}:t@?from=Shop&countries=DE")


def parts(*statuses: object) -> Reply:
    messages = [{"status": status, "message-id": f"id-{number}"} for number, status in enumerate(statuses)]
    return reply({"message-count": str(len(messages)), "messages": messages})


class TestVonage(SmsSuite):
    """Vonage's SMS API: HTTP 200 says nothing."""

    name = "vonage"
    url = f"vonage://abcd:{URL_TOKEN}@?from=Example&countries=DE"
    secrets = (TOKEN, b64encode(f"abcd:{TOKEN}".encode()).decode())
    success = parts("0", "0")
    reference = "id-0"
    outcomes = (
        *(
            (parts(status), outcome_for(code.meaning, f"vonage_{status}", timedelta(seconds=2)))
            for status, code in vonage.CODES.items()
        ),
        (parts("6", "6"), BadRecipient(reason="vonage_6")),
        (parts("99"), Permanent(reason="vonage_99")),
        (parts("0", "1"), Uncertain(reason="partly_accepted")),
        (parts(7), Uncertain(reason="unexpected_answer")),
        (parts(), Uncertain(reason="unexpected_answer")),
        (reply({"messages": ["0"]}), Uncertain(reason="unexpected_answer")),
        (reply({"messages": [{"status": "0"}]}), Uncertain(reason="unexpected_answer")),
        (Reply(status=502), Uncertain(reason="http_502")),
        (Reply(status=404), outcome_for(Meaning.CONFIGURATION, "http_404")),
    )

    def check_request(self, request):
        assert "/sms/json" == request.path
        assert f"Basic {self.secrets[1]}" == request.header("authorization")
        fields = parse_qs(request.body.decode())
        assert fields.pop("client-ref")[0].startswith("dlv_")
        assert {
            "to": ["4915123456789"],
            "from": ["Example"],
            "text": ['"Grüße" & 5 € + more'],
            "type": ["text"],
        } == fields

    async def test_what_is_not_replaced(self, server):
        """The operator may want the text as it is, although it costs more."""
        channel = channel_of(f"{self.url}&endpoint={server.url}&replace=off")
        destination = channel.destination(tenant="acme", subscriber_id="user:42", address=NUMBER)
        await send(channel, self.message, destination)
        await channel.aclose()

        fields = parse_qs(server.requests[0].body.decode())
        assert (["“Grüße” & 5 € + more"], ["unicode"]) == (fields["text"], fields["type"])

    async def test_a_text_that_needs_another_alphabet(self, server, sender):
        """The vendor is told so; otherwise it would replace characters."""
        channel = channel_of(f"{self.url}&endpoint={server.url}")
        destination = channel.destination(tenant="acme", subscriber_id="user:42", address=NUMBER)
        await send(channel, SmsMessage(text="“Привет”"), destination)
        await channel.aclose()

        fields = parse_qs(server.requests[0].body.decode())
        assert (["“Привет”"], ["unicode"]) == (fields["text"], fields["type"])


def sns_error(code: str, text: str = "no", status: int = 400) -> Reply:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>"
    return Reply(status=status, body=f"<ErrorResponse>{error}</ErrorResponse>".encode())


class TestSns(SmsSuite):
    """Amazon SNS."""

    name = "sns"
    url = f"sns://AKID:{URL_TOKEN}@eu-west-1?from=Example&countries=DE&max_price=0.10&token=temporary-token"
    secrets = (TOKEN, "temporary-token")
    success = Reply(status=200, body=b"<PublishResponse><MessageId>m-1</MessageId></PublishResponse>")
    reference = "m-1"
    outcomes = (
        *((sns_error(name), outcome_for(code.meaning, f"sns_{name}")) for name, code in sns.CODES.items()),
        (sns_error("InvalidParameter", "Invalid parameter: PhoneNumber"), BadRecipient(reason="sns_InvalidParameter")),
        (sns_error("ThrottlingException"), Throttled(reason="sns_Throttling")),
        (sns_error("Unheard", status=403), outcome_for(Meaning.CONFIGURATION, "http_403")),
        (Reply(status=400, body=b"<html>"), Permanent(reason="http_400")),
        (Reply(status=502, body=b"<html>"), Uncertain(reason="http_502")),
        (Reply(status=200, body=b"<PublishResponse/>"), Uncertain(reason="unexpected_answer")),
    )

    def check_request(self, request):
        assert ("POST", "/") == (request.method, request.path)
        authorization = request.header("authorization")
        assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKID/")
        assert "/eu-west-1/sns/aws4_request" in authorization
        assert "temporary-token" == request.header("x-amz-security-token")
        attributes = "MessageAttributes.entry"
        assert {
            "Action": ["Publish"],
            "Version": ["2010-03-31"],
            "PhoneNumber": [NUMBER],
            "Message": ['"Grüße" & 5 € + more'],
            f"{attributes}.1.Name": ["AWS.SNS.SMS.SMSType"],
            f"{attributes}.1.Value.DataType": ["String"],
            f"{attributes}.1.Value.StringValue": ["Transactional"],
            f"{attributes}.2.Name": ["AWS.SNS.SMS.SenderID"],
            f"{attributes}.2.Value.DataType": ["String"],
            f"{attributes}.2.Value.StringValue": ["Example"],
            f"{attributes}.3.Name": ["AWS.SNS.SMS.MaxPrice"],
            f"{attributes}.3.Value.DataType": ["Number"],
            f"{attributes}.3.Value.StringValue": ["0.10"],
        } == parse_qs(request.body.decode())

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ("from=A B&countries=DE", "from= is whom"),
            ("countries=DE&type=urgent", "type is one of transactional, promotional"),
            ("countries=DE&max_price=cheap", "max_price is what a text may cost"),
            ("from=Shop", "countries= is missing"),
        ],
    )
    def test_what_is_wrong_with_a_url(self, options, problem):
        """The message says what to write."""
        with pytest.raises(ConfigurationError, match=problem):
            channel_of(f"{self.url.partition('?')[0]}?{options}")

    async def test_a_number_as_the_sender(self, server):
        """It belongs to the account; without one SNS chooses."""
        for sender, attribute in (("&from=+4915100000000", ["AWS.MM.SMS.OriginationNumber"]), ("", None)):
            channel = channel_of(f"sns://AKID:{URL_TOKEN}@eu-west-1?countries=DE&endpoint={server.url}{sender}")
            destination = channel.destination(tenant="acme", subscriber_id="user:42", address=NUMBER)
            assert isinstance(await send(channel, self.message, destination), Accepted)
            await channel.aclose()
            assert attribute == parse_qs(server.requests[-1].body.decode()).get("MessageAttributes.entry.2.Name")


def test_the_catcher_checks_numbers(tmp_path):
    """In development a number has the same form as in production."""
    channel = channel_of(f"catch://{tmp_path}/caught.jsonl")

    assert NUMBER == channel.check_address("+49 151 23456789")


CALLBACK = "https://shop.example/receipts/sms"


@pytest.mark.parametrize("scheme", ["twilio", "vonage"])
async def test_a_vendor_is_told_where_to_report(scheme):
    """Twilio repeats the URL with each report, Vonage the reference: both then name the delivery."""
    async with VendorServer(reply({"sid": "SM1", "messages": [{"status": "0", "message-id": "1"}]})) as server:
        account = f"{SID if scheme == 'twilio' else 'key'}:{URL_TOKEN}@?from=Shop&countries=DE&endpoint={server.url}"
        channel = channel_of(f"{scheme}://{account}&callback={CALLBACK}")
        destination = channel.destination(tenant="acme", subscriber_id="user:42", address=NUMBER)
        claim = make_claim("sms", NUMBER)
        await channel.provider.send(SmsMessage(text="Hello"), claim, destination, now=START)
        (request,) = await server.aexpect(1)
        await channel.aclose()
    fields = parse_qs(request.body.decode())

    assert {
        "twilio": {"StatusCallback": [f"{CALLBACK}?delivery_id={claim.delivery_id}"]},
        "vonage": {"callback": [CALLBACK], "client-ref": [claim.delivery_id]},
    }[scheme].items() <= fields.items()


@pytest.mark.parametrize("callback", ["shop.example", "https://x.example/?a=1", "https://x.example/" + "x" * 100])
def test_a_callback_is_a_short_url(callback):
    """Without a query, because that is ours."""
    with pytest.raises(ConfigurationError, match="callback="):
        channel_of(f"vonage://key:secret@?from=Shop&countries=DE&callback={callback.replace('?', '%3F')}")
