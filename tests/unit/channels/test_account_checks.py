"""Accounts of HTTP providers are tried with a request that changes nothing; what each vendor's answer says."""

from __future__ import annotations

from typing import Any

import pytest

from notifykit import ConfigurationError
from notifykit.channels import provider_channel_from_url
from notifykit.channels.messages import MessageChannel
from notifykit.ports import ChecksConnection
from notifykit.testing import Reply, VendorServer

SID = "AC" + "0" * 32
URLS = {
    "mailgun": ("email", "mailgun://SECRET@mg.example.org?sender=a@b.example"),
    "sns": ("sms", "sns://ID:SECRET@eu-west-1?countries=DE"),
    "postmark": ("email", "postmark://SECRET@?sender=a@b.example"),
    "sendgrid": ("email", "sendgrid://SECRET@?sender=a@b.example"),
    "ses": ("email", "ses://ID:SECRET@eu-west-1?sender=a@b.example"),
    "twilio": ("sms", f"twilio://{SID}:SECRET@?from=+4915100&countries=DE"),
    "vonage": ("sms", "vonage://KEY:SECRET@?from=+4915100&countries=DE"),
}
SNS_DENIED = Reply(status=403, body=b"<ErrorResponse><Error><Code>AuthorizationError</Code></Error></ErrorResponse>")
DENIED = Reply(status=403, headers={"x-amzn-errortype": "AccessDeniedException"})
FORGED = Reply(status=403, headers={"x-amzn-errortype": "SignatureDoesNotMatchException"})


def channel_of(name: str, endpoint: str) -> MessageChannel:
    channel, url = URLS[name]
    made = provider_channel_from_url(channel, f"{url}&endpoint={endpoint.rstrip('/')}")
    assert isinstance(made, MessageChannel)
    return made


async def checked(name: str, reply: Reply) -> tuple[str, VendorServer]:
    """Return what a check says."""
    with VendorServer(reply) as server:
        channel = channel_of(name, server.url)
        assert isinstance(channel.provider, ChecksConnection)
        try:
            said = await channel.provider.check()
        except ConfigurationError as error:
            said = f"! {error}"
        await channel.aclose()
    return said, server


@pytest.mark.parametrize(
    ("name", "reply", "path", "said"),
    [
        ("postmark", Reply(status=200, body=b'{"Name": "shop"}'), "/server", "the token is that of the server 'shop'"),
        ("sendgrid", Reply(status=200, body=b'{"scopes": ["mail.send"]}'), "/v3/scopes", "the key may send"),
        ("ses", Reply(status=200, body=b'{"SendingEnabled": true}'), "/v2/email/account", "the account may send"),
        ("ses", DENIED, "/v2/email/account", "the key exists"),
        (
            "twilio",
            Reply(status=200, body=b'{"messages": []}'),
            f"/2010-04-01/Accounts/{SID}/Messages.json?PageSize=1",
            "the account and its token are right",
        ),
        ("vonage", Reply(status=200, body=b'{"value": 3.5}'), "/account/get-balance", "the balance is 3.5"),
    ],
)
async def test_an_account_that_can_be_used(name: str, reply: Reply, path: str, said: str) -> None:
    """One GET, with the account's key."""
    found, server = await checked(name, reply)

    (request,) = server.requests
    assert f"{name}://" == found[: len(name) + 3]
    assert found.endswith(f", {said}")
    assert ("GET", path, b"") == (request.method, request.path, request.body)


@pytest.mark.parametrize(
    ("name", "reply", "path", "body", "said"),
    [
        ("mailgun", Reply(status=400), "/v3/mg.example.org/messages", b"", "the key may send for the domain"),
        ("sns", Reply(status=200), "/", b"Action=GetSMSAttributes&Version=2010-03-31", "the key is right"),
        ("sns", SNS_DENIED, "/", b"Action=GetSMSAttributes&Version=2010-03-31", "the key exists"),
    ],
)
async def test_an_account_whose_api_has_no_get(name: str, reply: Reply, path: str, body: bytes, said: str) -> None:
    """One POST that has no message."""
    found, server = await checked(name, reply)

    (request,) = server.requests
    assert found.endswith(f", {said}")
    assert ("POST", path, body) == (request.method, request.path, request.body)


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=401, body=b'{"message": "no"}'),
        Reply(status=500),
        Reply(status=200, body=b"{}"),
        Reply(status=200, body=b"[]"),
        FORGED,
    ],
)
async def test_an_account_that_cannot_be_used(name: str, reply: Reply) -> None:
    """The error has the answer, and no secret."""
    found, _ = await checked(name, reply)

    if name in ("twilio", "sns") and reply.status == 200:
        return  # of Twilio it is a list of messages, which may be empty, and of SNS only the status counts
    assert found.startswith(f"! {name}://")
    assert f"the vendor refused: {reply.status}" in found
    assert "SECRET" not in found


async def test_a_vendor_that_cannot_be_reached() -> None:
    """It is told apart from one that refuses."""
    provider: Any = channel_of("postmark", "http://127.0.0.1:1").provider

    with pytest.raises(ConfigurationError, match="the vendor cannot be reached: connect_failed"):
        await provider.check()


def test_a_room_cannot_be_checked() -> None:
    """Its URL, which is the address, is the only key, and posts to the room."""
    made = provider_channel_from_url("chat", "slack://")

    assert isinstance(made, MessageChannel)
    assert not isinstance(made.provider, ChecksConnection)
