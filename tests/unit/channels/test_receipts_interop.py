"""Our verifiers and the vendors' own Python packages agree, each way."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import attrs
import pytest

from notifykit.channels.receipts.sendgrid import SendGridReceipts
from notifykit.channels.receipts.twilio import TwilioReceipts
from notifykit.channels.receipts.vonage import VonageReceipts
from notifykit.signing import VerificationError
from tests.unit.channels import vendor_reports as v

pytestmark = pytest.mark.interop
WHY = "the package is in the dependency group 'test'"


def accepts(verifier, report: v.Report, now: datetime = v.NOW) -> bool:
    """Return whether we take a request to be genuine."""
    try:
        verifier.receipts(report.headers, report.body, report.url, now=now)
    except VerificationError:
        return False
    return True


# ── Twilio ─────────────────────────────────────────────────────────────────────────────────────

FORMS = [
    v.TWILIO_FIELDS,
    {**v.TWILIO_FIELDS, "To": "", "Body": "a & b = c + d % é 😀"},
    {
        "AccountSid": "AC" + "0" * 32,
        "MessageSid": "MM" + "0f" * 16,
        "MessageStatus": "sent",
        "_": "~",
        "a": "Z",
        "B": "ü",
    },
]
URLS = [
    v.TWILIO_URL,
    "https://shop.example/receipts/twilio",
    "https://shop.example:8443/r?x=1&delivery_id=dlv_1",
    "http://shop.example/r?empty=",
]


@pytest.mark.parametrize("algorithm", ["HMAC_SHA1", "HMAC_SHA256"])
@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("form", FORMS)
def test_twilio_agrees(form, url, algorithm):
    """We accept what its package signs, its package accepts what we do, and neither another token's."""
    twilio = pytest.importorskip("twilio.request_validator", reason=WHY)
    signer, stranger = twilio.RequestValidator(v.TWILIO_TOKEN), twilio.RequestValidator("another token")
    settings = {"X-Twilio-Webhooks-Signature-Settings": f"key=webhooks_sharedkey_1,algorithm={algorithm}"}

    def report(by) -> v.Report:
        headers = {"X-Twilio-Signature": by.compute_signature(url, form, algorithm), **settings}
        return attrs.evolve(v.twilio(form, url=url), headers=headers)

    verifier = TwilioReceipts(["before", v.TWILIO_TOKEN])

    assert [True, False] == [accepts(verifier, report(by)) for by in (signer, stranger)]
    ours = v.twilio(form, url=url).headers["X-Twilio-Signature"]
    assert [True, False] == [by.validate(url, form, ours) for by in (signer, stranger)]


# ── SendGrid ───────────────────────────────────────────────────────────────────────────────────

BODIES = [
    None,
    b'[{"email":"example@test.com","timestamp":1513299569,"event":"processed"}]\r\n',
    '[{"event":"open","useragent":"é 😀"}]'.encode(),
]


@pytest.mark.parametrize("body", BODIES)
def test_sendgrid_agrees(body):
    """Its package accepts the requests that we accept, and refuses the same with another body, time or key."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sendgrid = pytest.importorskip("sendgrid.helpers.eventwebhook", reason=WHY)
    key = v.spki(v.sendgrid_key())
    judge, verifier = sendgrid.EventWebhook(key), SendGridReceipts(key)
    genuine = v.sendgrid(v.SENDGRID_EVENT, body=body)
    signature, timestamp = (
        genuine.headers[f"X-Twilio-Email-Event-Webhook-{name}"] for name in ("Signature", "Timestamp")
    )
    other_time = {**genuine.headers, "X-Twilio-Email-Event-Webhook-Timestamp": str(v.UNIX - 1)}
    requests = [
        (genuine, timestamp),
        (attrs.evolve(genuine, body=genuine.body + b" "), timestamp),
        (attrs.evolve(genuine, headers=other_time), str(v.UNIX - 1)),
    ]

    theirs = [judge.verify_signature(report.body.decode(), signature, at) for report, at in requests]

    assert [True, False, False] == theirs == [accepts(verifier, report) for report, _ in requests]


# ── Vonage ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize("form", ["form", "json", "query"])
def test_vonage_agrees_on_parameters(form, method):
    """We accept what its package signs, and it accepts what is signed here."""
    auth = pytest.importorskip("vonage_http_client.auth", reason=WHY)
    judge = auth.Auth(api_key="abcd1234", signature_secret=v.VONAGE_SECRET, signature_method=method)
    fields = {**v.VONAGE_FIELDS, "client-ref": "a&b=c ü"}
    verifier = VonageReceipts(v.VONAGE_SECRET, method=method)

    assert judge.sign_params({**fields}) == v.vonage_signature(fields, method=method)
    assert judge.check_signature({**fields, "sig": v.vonage_signature(fields, method=method)})
    assert accepts(verifier, v.vonage(fields, form=form, method=method))
    assert not accepts(VonageReceipts("other", method=method), v.vonage(fields, form=form, method=method))


def test_vonage_agrees_on_tokens():
    """We and its package accept the same token, and refuse that of another secret."""
    judge = pytest.importorskip("vonage_jwt.verify_jwt", reason=WHY)
    past = 1_600_000_000  # the package looks at the clock
    now = datetime.fromtimestamp(past, UTC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyJWT finds the secret short
        reports = [v.vonage_message(v.VONAGE_STATUS, secret=each, iat=past) for each in (v.VONAGE_SECRET, "other")]
        tokens = [report.headers["Authorization"].removeprefix("Bearer ") for report in reports]
        theirs = [judge.verify_signature(token, v.VONAGE_SECRET) for token in tokens]

    assert [True, False] == theirs == [accepts(VonageReceipts(v.VONAGE_SECRET), report, now) for report in reports]
