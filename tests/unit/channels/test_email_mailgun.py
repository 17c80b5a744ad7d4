"""Mailgun: what is sent to it, and what follows from each of its answers."""

from __future__ import annotations

import json
from base64 import b64encode
from urllib.parse import parse_qs

import pytest

from notifykit.channels.email.mailgun import CODES
from notifykit.models.messages import EmailMessage
from notifykit.models.outcome import BadRecipient, CircuitEffect, Permanent, Throttled, Transient, Uncertain
from notifykit.testing import ProviderSuite, ReceivedRequest, Reply

OPEN = CircuitEffect.OPEN
BASIC = b64encode(b"api:mg-key-1").decode()


def refused(status: int, message: str = "no") -> Reply:
    return Reply(status=status, body=json.dumps({"message": message}).encode())


class TestMailgun(ProviderSuite):
    """The provider keeps the contract."""

    url = "mailgun://mg-key-1@mg.example.org?sender=Shop%20%3Cshop@example.org%3E"
    secrets = ("mg-key-1", BASIC)
    address = "ada+news@example.org"
    message = EmailMessage(
        subject="Grüße & more",
        text="Dear Ada",
        html="<p>Dear Ada</p>",
        reply_to=("help@example.org", '"A, \\"B\\"" <a@example.org>'),
        unsubscribe_url="https://shop.example.org/u/1",
    )
    success = Reply(status=200, body=b'{"id":"<2026.1@mg.example.org>","message":"Queued. Thank you."}')
    reference = "2026.1@mg.example.org"
    outcomes = (
        (
            refused(400, "'to' parameter is not a valid address. please check documentation"),
            BadRecipient(reason="mailgun_invalid_recipient"),
        ),
        (
            refused(400, "to parameter is not a valid address. please check documentation"),
            BadRecipient(reason="mailgun_invalid_recipient"),
        ),
        (refused(400, "'from' parameter is not a valid address."), Permanent(reason="mailgun_400")),
        *((refused(code), Transient(reason=f"mailgun_{code}", circuit=OPEN)) for code in (401, 402, 403, 404)),
        (refused(413), Permanent(reason="mailgun_413")),
        (refused(429), Throttled(reason="mailgun_429")),
        (refused(500), Transient(reason="mailgun_500")),
        (refused(418), Permanent(reason="http_418")),
        (Reply(status=200, body=b"Mailgun Magnificent API"), Transient(reason="mailgun_wrong_path", circuit=OPEN)),
        (Reply(status=200, body=b'{"id":7}'), Uncertain(reason="unexpected_answer")),
    )

    def check_request(self, request: ReceivedRequest) -> None:
        assert ("POST", "/v3/mg.example.org/messages") == (request.method, request.path)
        assert f"Basic {BASIC}" == request.header("authorization")
        assert "application/x-www-form-urlencoded" == request.header("content-type")
        form = parse_qs(request.body.decode(), strict_parsing=True)
        assert form.pop("v:delivery_id")
        assert {
            "from": ['"Shop" <shop@example.org>'],
            "to": ["ada+news@example.org"],
            "subject": ["Grüße & more"],
            "text": ["Dear Ada"],
            "html": ["<p>Dear Ada</p>"],
            "h:Auto-Submitted": ["auto-generated"],
            "h:List-Unsubscribe": ["<https://shop.example.org/u/1>"],
            "h:List-Unsubscribe-Post": ["List-Unsubscribe=One-Click"],
            "h:Reply-To": ['help@example.org, "A, \\"B\\"" <a@example.org>'],
        } == form


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_row(code: int) -> None:
    """The tests go through the whole table."""
    assert code in {reply.status for reply, _ in TestMailgun.outcomes}
