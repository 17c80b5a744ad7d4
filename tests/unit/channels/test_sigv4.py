"""Our signatures are those that AWS' own client makes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from notifykit.signing.sigv4 import AwsCredentials, signed_headers

pytestmark = pytest.mark.interop
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize("token", [None, "FwoGZXIvYXdzE=="])
@pytest.mark.parametrize(
    ("url", "headers", "body", "service"),
    [
        (
            "https://email.eu-west-1.amazonaws.com/v2/email/outbound-emails",
            {"content-type": "application/json"},
            b"{}",
            "ses",
        ),
        (
            "https://sns.eu-west-1.amazonaws.com/",
            {"content-type": "application/x-www-form-urlencoded"},
            b"a=b+c",
            "sns",
        ),
        ("https://sns.eu-west-1.amazonaws.com", {}, "ä".encode(), "sns"),
        ("http://127.0.0.1:4566/a%20b/c?b=2&a=1&a=%20x~", {"x-text": "two  blanks"}, b"", "sns"),
        ("https://email.eu-west-1.amazonaws.com:443/v2", {}, b"", "ses"),
    ],
)
def test_signs_as_botocore_does(
    monkeypatch: pytest.MonkeyPatch, url: str, headers: dict[str, str], body: bytes, service: str, token: str | None
) -> None:
    """The header ``Authorization`` is the same."""
    monkeypatch.setattr(auth, "get_current_datetime", lambda **_: NOW.replace(tzinfo=None))
    theirs = AWSRequest(method="POST", url=url, headers=headers, data=body)
    auth.SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, token), service, "eu-west-1").add_auth(theirs)

    ours = signed_headers(
        "POST",
        url,
        headers,
        body,
        credentials=AwsCredentials(key_id="AKIDEXAMPLE", secret=SECRET, token=token),
        region="eu-west-1",
        service=service,
        now=NOW,
    )

    assert theirs.headers["Authorization"] == ours["authorization"]
    assert theirs.headers["X-Amz-Date"] == ours["x-amz-date"]


def test_signs_the_example_of_aws() -> None:
    """The vector ``post-x-www-form-urlencoded`` of AWS' published test suite."""
    ours = signed_headers(
        "POST",
        "https://example.amazonaws.com/",
        {"content-type": "application/x-www-form-urlencoded"},
        b"Param1=value1",
        credentials=AwsCredentials(key_id="AKIDEXAMPLE", secret=SECRET),
        region="us-east-1",
        service="service",
        now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )

    assert ours["authorization"].endswith("ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a")


def test_the_secret_is_not_shown() -> None:
    """Neither the key nor the token of a session."""
    shown = repr(AwsCredentials(key_id="AKIDEXAMPLE", secret=SECRET, token="a-token"))

    assert SECRET not in shown
    assert "a-token" not in shown
