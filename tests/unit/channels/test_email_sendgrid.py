"""SendGrid: what is sent to it, and what follows from each of its answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from notifykit.channels.email.sendgrid import CODES
from notifykit.models.messages import EmailMessage
from notifykit.models.outcome import BadRecipient, CircuitEffect, Permanent, Throttled, Transient, Uncertain
from notifykit.testing import START, ProviderSuite, ReceivedRequest, Reply

OPEN = CircuitEffect.OPEN


def refused(status: int, field: str | None = None) -> Reply:
    error = {"message": "no", "field": field, "help": None}
    return Reply(status=status, body=json.dumps({"errors": [error]}).encode())


def throttled(reset: str) -> Reply:
    return Reply(status=429, headers={"X-RateLimit-Reset": reset})


SOON, LATE, PAST = (str(int(START.timestamp()) + seconds) for seconds in (20, 86400, -5))


class TestSendGrid(ProviderSuite):
    """The provider keeps the contract."""

    url = "sendgrid://SG.key-1@?sender=Shop%20%3Cshop@example.org%3E"
    secrets = ("SG.key-1",)
    address = "ada@example.org"
    message = EmailMessage(
        subject="Grüße",
        text="Dear Ada",
        html="<p>Dear Ada</p>",
        reply_to=("help@example.org", "Ä <a@example.org>"),
        headers={"X-Campaign": "späte Grüße"},
        unsubscribe_url="https://shop.example.org/u/1",
    )
    success = Reply(status=202, headers={"X-Message-Id": "14c5d75ce93"})
    reference = "14c5d75ce93"
    outcomes = (
        (refused(400, "personalizations.0.to.0.email"), BadRecipient(reason="sendgrid_invalid_recipient")),
        (refused(400, "personalizations[0].to[0].email"), BadRecipient(reason="sendgrid_invalid_recipient")),
        (refused(400, "personalizations.0.topic"), Permanent(reason="sendgrid_400")),
        (refused(400, "from.email"), Permanent(reason="sendgrid_400")),
        (refused(400), Permanent(reason="sendgrid_400")),
        *((refused(code), Transient(reason=f"sendgrid_{code}", circuit=OPEN)) for code in (401, 403, 404, 405)),
        (refused(413), Permanent(reason="sendgrid_413")),
        (refused(429), Throttled(reason="sendgrid_429")),
        (throttled(SOON), Throttled(reason="sendgrid_429", retry_after=datetime.fromtimestamp(int(SOON), UTC) - START)),
        (throttled(LATE), Throttled(reason="sendgrid_429", retry_after=timedelta(hours=1))),
        (throttled(PAST), Throttled(reason="sendgrid_429")),
        (throttled("soon"), Throttled(reason="sendgrid_429")),
        (refused(500), Transient(reason="sendgrid_500")),
        (refused(418), Permanent(reason="http_418")),
        (Reply(status=202), Uncertain(reason="unexpected_answer")),
    )

    def check_request(self, request: ReceivedRequest) -> None:
        assert ("POST", "/v3/mail/send") == (request.method, request.path)
        assert "Bearer SG.key-1" == request.header("authorization")
        body = request.json()
        assert body["personalizations"][0].pop("custom_args").keys() == {"delivery_id"}
        assert {
            "personalizations": [{"to": [{"email": "ada@example.org"}]}],
            "from": {"email": "shop@example.org", "name": "Shop"},
            "subject": "Grüße",
            "content": [
                {"type": "text/plain", "value": "Dear Ada"},
                {"type": "text/html", "value": "<p>Dear Ada</p>"},
            ],
            "reply_to_list": [{"email": "help@example.org"}, {"email": "a@example.org", "name": "Ä"}],
            "headers": {
                "Auto-Submitted": "auto-generated",
                "List-Unsubscribe": "<https://shop.example.org/u/1>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                "X-Campaign": "=?utf-8?b?c3DDpHRlIEdyw7zDn2U=?=",
            },
        } == body


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_row(code: int) -> None:
    """The tests go through the whole table."""
    assert code in {reply.status for reply, _ in TestSendGrid.outcomes}
