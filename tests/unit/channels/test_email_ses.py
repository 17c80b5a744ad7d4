"""Amazon SES: what is sent to it, and what follows from each of its errors."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from notifykit.channels import provider_channel_from_url
from notifykit.channels.email.ses import CODES
from notifykit.channels.messages import MessageChannel
from notifykit.models.outcome import CircuitEffect, Permanent, Throttled, Transient, Uncertain
from notifykit.testing import START, ProviderSuite, ReceivedRequest, Reply

SECRET, TOKEN = "wJalrXUtnFEMI/K7MDENG", "a-session-token"
OUTCOMES: dict[str, Any] = {
    "permanent": lambda reason: Permanent(reason=reason),
    "transient": lambda reason: Transient(reason=reason),
    "throttled": lambda reason: Throttled(reason=reason),
    "configuration": lambda reason: Transient(reason=reason, circuit=CircuitEffect.OPEN),
}
MEANINGS = {
    "permanent": ("BadRequest", "InvalidParameterValue", "MessageRejected"),
    "transient": ("InternalFailure",),
    "throttled": ("Throttling", "TooManyRequests"),
    "configuration": (
        *("AccessDenied", "AccountSuspended", "ExpiredToken", "InvalidClientTokenId", "MailFromDomainNotVerified"),
        *("NotFound", "SendingPaused", "SignatureDoesNotMatch", "UnrecognizedClient"),
    ),
}


def refused(name: str, status: int = 400) -> Reply:
    url = "http://internal.amazon.com/coral/com.amazonaws.services.simpleemailv2/"
    return Reply(status=status, headers={"x-amzn-ErrorType": f"{name}:{url}"}, body=b'{"message":"no"}')


def in_body(**body: str) -> Reply:
    return Reply(status=400, body=json.dumps(body).encode())


class TestSes(ProviderSuite):
    """The provider keeps the contract."""

    url = (
        f"ses://AKIDEXAMPLE:{SECRET.replace('/', '%2F')}@eu-west-1"
        f"?sender=shop@example.org&token={TOKEN}&configuration_set=main"
    )
    secrets = (SECRET, TOKEN)
    address = "ada@bücher.example"
    success = Reply(status=200, body=b'{"MessageId":"0102-1"}')
    reference = "0102-1"
    outcomes = (
        *(
            (refused(f"{name}Exception"), OUTCOMES[meaning](f"ses_{name}"))
            for meaning, names in MEANINGS.items()
            for name in names
        ),
        (refused("LimitExceededException"), Throttled(reason="ses_LimitExceeded", retry_after=timedelta(hours=1))),
        (in_body(__type="com.amazon#MessageRejected"), Permanent(reason="ses_MessageRejected")),
        (in_body(code="TooManyRequestsException"), Throttled(reason="ses_TooManyRequests")),
        (refused("ConflictException", 409), Permanent(reason="http_409")),
        (Reply(status=200, body=b"{}"), Uncertain(reason="unexpected_answer")),
    )

    def check_request(self, request: ReceivedRequest) -> None:
        assert ("POST", "/v2/email/outbound-emails") == (request.method, request.path)
        self.check_signature(request)
        body = request.json()
        mail = message_from_bytes(b64decode(body.pop("Content")["Raw"]["Data"]), policy=policy.default)
        assert ("ada@xn--bcher-kva.example", "Grüße, 50 % off & <more>") == (mail["To"], mail["Subject"])
        parts = [part.get_content().strip().replace("\r\n", "\n") for part in mail.iter_parts()]
        assert ["Dear Ada,\nit is here. ✓", "<p>It is here. ✓</p>"] == parts
        (tag,) = body.pop("EmailTags")
        assert "delivery_id" == tag["Name"]
        assert {
            "FromEmailAddress": "shop@example.org",
            "Destination": {"ToAddresses": ["ada@xn--bcher-kva.example"]},
            "ConfigurationSetName": "main",
        } == body

    def check_signature(self, request: ReceivedRequest) -> None:
        """What botocore makes of the same request."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(auth, "get_current_datetime", lambda **_: START.replace(tzinfo=None))
            url = f"http://{request.header('host')}{request.path}"
            headers = {"content-type": "application/json"}
            theirs = AWSRequest(method="POST", url=url, headers=headers, data=request.body)
            auth.SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, TOKEN), "ses", "eu-west-1").add_auth(theirs)
        assert theirs.headers["Authorization"] == request.header("authorization")
        assert TOKEN == request.header("x-amz-security-token")


def test_every_code_has_a_row() -> None:
    """The tests go through the whole table."""
    assert CODES.keys() == {"LimitExceeded", *(name for names in MEANINGS.values() for name in names)}


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("eu-west-1", "https://email.eu-west-1.amazonaws.com"),
        ("cn-north-1", "https://email.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_region_follows_the_at(region: str, endpoint: str) -> None:
    """It makes the address of the API."""
    channel = provider_channel_from_url("email", f"ses://ID:SECRET@{region}?sender=shop@example.org")

    assert isinstance(channel, MessageChannel)
    assert endpoint == vars(channel.provider)["_vendor"].endpoint
