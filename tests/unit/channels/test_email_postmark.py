"""Postmark: what is sent to it, and what follows from each of its codes."""

from __future__ import annotations

import json

from notifykit.channels.email.postmark import CODES
from notifykit.models.outcome import BadRecipient, CircuitEffect, Permanent, Throttled, Transient, Uncertain
from notifykit.testing import ProviderSuite, ReceivedRequest, Reply

OPEN = CircuitEffect.OPEN


def refused(code: int, message: str = "no", status: int = 422) -> Reply:
    return Reply(status=status, body=json.dumps({"ErrorCode": code, "Message": message}).encode())


class TestPostmark(ProviderSuite):
    """The provider keeps the contract."""

    url = "postmark://server-token-1@?sender=Shop%20%3Cshop@example.org%3E&stream=alerts"
    secrets = ("server-token-1",)
    address = "ada@example.org"
    success = Reply(status=200, body=b'{"ErrorCode":0,"Message":"OK","MessageID":"b7bc2f4a","To":"ada@example.org"}')
    reference = "b7bc2f4a"
    outcomes = (
        (refused(10, status=401), Transient(reason="postmark_10", circuit=OPEN)),
        (refused(100, status=503), Transient(reason="postmark_100")),
        (refused(300, "Invalid 'To' address: 'x'."), BadRecipient(reason="postmark_300")),
        (refused(300, "Invalid 'From' address: 'x'."), Permanent(reason="postmark_300")),
        *((refused(code), Transient(reason=f"postmark_{code}", circuit=OPEN)) for code in (400, 401, 405, 412, 413)),
        *((refused(code), Permanent(reason=f"postmark_{code}")) for code in (402, 403, 409, 410, 411)),
        (refused(406), BadRecipient(reason="postmark_406")),
        (refused(429, status=429), Throttled(reason="postmark_429")),
        (refused(99999), Permanent(reason="http_422")),
        (Reply(status=200, body=b"<html>a login page</html>"), Uncertain(reason="unexpected_answer")),
    )

    def check_request(self, request: ReceivedRequest) -> None:
        assert ("POST", "/email") == (request.method, request.path)
        assert "server-token-1" == request.header("x-postmark-server-token")
        body = request.json()
        assert body.pop("Metadata").keys() == {"delivery_id"}
        assert {
            "From": '"Shop" <shop@example.org>',
            "To": "ada@example.org",
            "Subject": "Grüße, 50 % off & <more>",
            "TextBody": "Dear Ada,\nit is here. ✓",
            "HtmlBody": "<p>It is here. ✓</p>",
            "Headers": [{"Name": "Auto-Submitted", "Value": "auto-generated"}],
            "MessageStream": "alerts",
        } == body


def test_every_code_has_a_row() -> None:
    """The table of the tests is as long as that of the provider."""
    tested = {json.loads(reply.body)["ErrorCode"] for reply, _ in TestPostmark.outcomes if reply.body.startswith(b"{")}

    assert CODES.keys() <= tested
