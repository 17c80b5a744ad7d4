"""Our signatures verify elsewhere, and theirs verify here."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from notifykit.signing import Signer, Verifier, generate_secret

pytestmark = pytest.mark.interop
BODIES = [b"{}", '{"name": "Zoë 😀"}'.encode(), b'{"a":\n 1}\n', b'{"big": "' + b"x" * 50_000 + b'"}']
ID = "evt_01J9Z3K4M5N6P7Q8R9S0T1V2W3"


@pytest.fixture(params=["standardwebhooks", "svix.webhooks"])
def webhook(request):
    """The class ``Webhook`` of another library."""
    return pytest.importorskip(request.param, reason=f"needs the package {request.param}").Webhook


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("keys", [1, 2])
def test_they_accept_ours(webhook, body, keys):
    """A message that we sign, also with two keys during a rotation, is accepted there."""
    secrets = [generate_secret() for _ in range(keys)]
    headers = Signer(secrets).headers(ID, int(time.time()), body)

    for secret in secrets:
        webhook(secret).verify(body, headers)


def test_they_reject_what_we_signed_for_others(webhook):
    """The test above can fail: with another key the same message is refused."""
    headers = Signer(generate_secret()).headers(ID, int(time.time()), b"{}")

    with pytest.raises(Exception, match="No matching signature"):
        webhook(generate_secret()).verify(b"{}", headers)


@pytest.mark.parametrize("body", BODIES)
def test_we_accept_theirs(webhook, body):
    """A message that they sign is accepted here."""
    secret = generate_secret()
    now = datetime.now(UTC)
    headers = {
        "Webhook-Id": ID,
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": webhook(secret).sign(ID, now, body.decode()),
    }

    assert body == Verifier(secret).verify(body, headers)
