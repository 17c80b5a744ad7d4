"""Amazon SES and SNS against moto, which nobody here wrote."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_string
from email.policy import default

import pytest
from moto.backends import get_backend
from moto.server import ThreadedMotoServer

from notifykit.channels import provider_channel_from_url
from notifykit.channels.messages import MessageChannel
from notifykit.models.messages import EmailMessage, Message, SmsMessage
from notifykit.models.outcome import Accepted, Outcome, Permanent
from notifykit.testing import START
from notifykit.testing.suites.provider import make_claim

#: That all keys belong to.
ACCOUNT = "123456789012"

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("moto")]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The URL of moto's server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def send(channel: str, url: str, address: str, message: Message) -> Outcome:
    """Make an attempt through the provider of a URL."""
    made = provider_channel_from_url(channel, url)
    assert isinstance(made, MessageChannel)
    destination = made.destination(tenant="acme", subscriber_id="user:42", address=address)
    outcome = await made.provider.send(message, make_claim(channel, address), destination, now=START)
    await made.aclose()
    return outcome


async def test_ses_sends_what_we_wrote(moto):
    """A sender that is not verified is refused; the mail of one that is arrives as it was written."""
    url = f"ses://AKID:secret@eu-west-1?sender=Shop <shop@example.org>&endpoint={moto}"
    mail = EmailMessage(subject="Grüße", text="Dear Ada ✓", html="<p>Dear Ada ✓</p>")

    refused = await send("email", url, "ada@example.org", mail)
    ses = get_backend("ses")[ACCOUNT]["eu-west-1"]
    ses.verify_email_identity("shop@example.org")
    accepted = await send("email", url, "ada@example.org", mail)

    assert isinstance(refused, Permanent)
    assert "ses_MessageRejected" == refused.reason
    assert isinstance(accepted, Accepted)
    (sent,) = ses.sent_messages
    assert (accepted.answer.reference, {"ada@example.org"}) == (sent.id, set(sent.destinations))
    parsed = message_from_string(sent.raw_data, policy=default)
    assert ("Grüße", "Shop <shop@example.org>") == (parsed["Subject"], parsed["From"])


async def test_sns_sends_a_text(moto):
    """To the number, with an id."""
    url = f"sns://AKID:secret@eu-west-1?countries=DE&from=Example&endpoint={moto}"

    outcome = await send("sms", url, "+4915123456789", SmsMessage(text="It is here ✓ & <ready>"))

    assert isinstance(outcome, Accepted)
    sent = get_backend("sns")[ACCOUNT]["eu-west-1"].sms_messages
    assert {outcome.answer.reference: ("+4915123456789", "It is here ✓ & <ready>")} == sent
