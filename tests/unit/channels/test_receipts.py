"""Receipts of vendors: what is genuine is read, what is not is refused with a reason."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any, cast

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from notifykit import ConfigurationError
from notifykit.channels.receipts import known_verifiers, receipt_verifier
from notifykit.channels.receipts.mailgun import MailgunReceipts
from notifykit.channels.receipts.postmark import PostmarkReceipts
from notifykit.channels.receipts.reading import MAX_BODY, MAX_RECEIPTS
from notifykit.channels.receipts.sendgrid import SendGridReceipts
from notifykit.channels.receipts.ses import SesReceipts
from notifykit.channels.receipts.twilio import TwilioReceipts
from notifykit.channels.receipts.vonage import METHODS, VonageReceipts
from notifykit.models.receipt import ProviderReceipt
from notifykit.signing import VerificationError
from tests.unit.channels import vendor_reports as v

DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
OTHER_KEY = v.spki(ec.generate_private_key(ec.SECP256R1()))


class Fetch:
    """Stands in for SNS: counts what is fetched from it."""

    def __init__(self, content: bytes | None = None) -> None:
        self.content = v.certificate() if content is None else content
        self.urls: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.urls.append(url)
        return self.content


def verifiers() -> dict[str, Any]:
    """Return a verifier for each of ``GENUINE``, with a second secret as while one is rotated."""
    return {
        "mailgun": MailgunReceipts(["key-of-before", v.MAILGUN_KEY]),
        "postmark": PostmarkReceipts(["notify:before", v.POSTMARK_LOGIN]),
        "sendgrid": SendGridReceipts([OTHER_KEY, v.spki(v.sendgrid_key())]),
        "ses": SesReceipts([f"{v.TOPIC}-before", v.TOPIC], fetch=Fetch()),
        "twilio": TwilioReceipts(["token-of-before", v.TWILIO_TOKEN]),
        "vonage": VonageReceipts(["secret-of-before", v.VONAGE_SECRET]),
        "vonage_message": VonageReceipts(["secret-of-before", v.VONAGE_SECRET]),
    }


def read(report: v.Report, verifier: Any = None, *, name: str = "", now: dt.datetime = v.NOW) -> list[ProviderReceipt]:
    verifier = verifier or verifiers()[name]
    return verifier.receipts(report.headers, report.body, report.url, now=now)


def refusal(report: v.Report, verifier: Any = None, *, name: str = "", now: dt.datetime = v.NOW) -> str:
    with pytest.raises(VerificationError) as caught:
        read(report, verifier, name=name, now=now)
    return caught.value.reason


# ── what is genuine ────────────────────────────────────────────────────────────────────────────

EXPECTED: dict[str, dict[str, Any]] = {
    "mailgun": {
        "id": "G9Bn5sl1TC6nu79C8C0bwg:20261129",
        "kind": "bounced",
        "permanent": True,
        "reference": "20130503192659.13651.20287@mg.example.org",
        "at": v.NOW - dt.timedelta(seconds=60.5),
        "address": "ada@example.org",
        "code": "605",
    },
    "postmark": {
        "kind": "bounced",
        "permanent": True,
        "reference": "883953f4-6105-42a2-a16a-77a8eac79483",
        "at": v.NOW - dt.timedelta(minutes=1),
        "address": "ada@example.org",
        "code": "HardBounce",
    },
    "sendgrid": {
        "id": "6g4ZI7SA-xmRDv57GoPIPw==",
        "kind": "bounced",
        "permanent": True,
        "reference": "14c5d75ce93",
        "at": v.NOW - dt.timedelta(minutes=1),
        "address": "ada@example.org",
        "code": "5.0.0",
    },
    "ses": {
        "id": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324:0",
        "kind": "bounced",
        "permanent": True,
        "reference": "010001499999-reference",
        "at": v.NOW - dt.timedelta(minutes=1),
        "address": "ada@example.org",
        "code": "5.1.1",
    },
    "twilio": {
        "id": f"SM{'1' * 32}:undelivered",
        "kind": "bounced",
        "permanent": True,
        "reference": "SM" + "1" * 32,
        "at": v.NOW,
        "address": "+15558675310",
        "code": "30005",
    },
    "vonage": {
        "kind": "delivered",
        "permanent": False,
        "reference": "0A0000001234567B",
        "at": v.NOW - dt.timedelta(minutes=1),
        "address": "+447700900000",
        "code": "0",
    },
    "vonage_message": {
        "kind": "failed",
        "permanent": False,
        "reference": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
        "at": v.NOW - dt.timedelta(minutes=1),
        "address": "+447700900000",
        "code": "1330",
    },
}


@pytest.mark.parametrize("name", sorted(v.GENUINE))
def test_a_genuine_report_becomes_a_receipt(name):
    """Every field is read, and our own id of the delivery comes back."""
    (receipt,) = read(v.GENUINE[name](), name=name)

    expected = {"provider": name.partition("_")[0], "delivery_id": v.DELIVERY, **EXPECTED[name]}
    assert expected == {field: getattr(receipt, field) for field in expected}


@pytest.mark.parametrize("name", sorted(v.GENUINE))
def test_a_repeated_report_has_the_same_id(name):
    """So it is stored once."""
    first, again = (read(v.GENUINE[name](), name=name, now=v.NOW + late) for late in (0 * HOUR, HOUR))

    assert first[0].id == again[0].id


@pytest.mark.parametrize("name", sorted(v.GENUINE))
def test_frameworks_have_headers_of_their_own(name):
    """Pairs of bytes with names in lower case are the same as a mapping."""
    report = v.GENUINE[name]()
    raw = [(key.lower().encode(), value.encode()) for key, value in report.headers.items()]

    assert read(report, name=name) == verifiers()[name].receipts(raw, report.body, report.url, now=v.NOW)


def test_each_vendor_is_found_by_its_name():
    """With its secret it verifies a genuine report."""
    secrets = {
        "mailgun": v.MAILGUN_KEY,
        "postmark": v.POSTMARK_LOGIN,
        "sendgrid": v.spki(v.sendgrid_key()),
        "ses": v.TOPIC,
        "twilio": v.TWILIO_TOKEN,
        "vonage": v.VONAGE_SECRET,
    }

    assert sorted(secrets) == known_verifiers()
    assert list(secrets) == [receipt_verifier(name, secret).name for name, secret in secrets.items()]


@pytest.mark.parametrize(
    ("name", "secrets", "said"),
    [
        ("pigeon", "x", "known: mailgun"),
        ("mailgun", "", "is needed"),
        ("mailgun", [], "is needed"),
        ("mailgun", ["k"] * 17, "up to 16"),
        ("mailgun", [7], "is needed"),
        ("postmark", "no-colon", "user:password"),
        ("postmark", "user: ", "user:password"),
        ("postmark", "üser:password", "user:password"),
        ("sendgrid", "not base64", "as SendGrid shows it"),
        ("sendgrid", base64.b64encode(b"no key").decode(), "as SendGrid shows it"),
        ("sendgrid", v.spki(ec.generate_private_key(ec.SECP384R1())), "P-256"),
        ("sendgrid", v.spki(v.sns_key()), "P-256"),
        ("ses", "mails", "no ARN"),
    ],
)
def test_wrong_secrets_are_refused_at_once(name, secrets, said):
    """The error says what is needed."""
    with pytest.raises(ConfigurationError, match=said):
        receipt_verifier(name, secrets)


def test_vonage_knows_few_methods():
    """Another one is a mistake."""
    with pytest.raises(ConfigurationError, match="sha256"):
        VonageReceipts("secret", method="crc32")


# ── what is not ────────────────────────────────────────────────────────────────────────────────

STRANGERS = {
    "mailgun": v.mailgun(v.MAILGUN_EVENT, key="another key"),
    "postmark": v.postmark(v.POSTMARK_BOUNCE, login="notify:guessed"),
    "sendgrid": attrs.evolve(v.sendgrid({}), headers=v.sendgrid(v.SENDGRID_EVENT).headers),
    "ses": v.ses(v.SES_BOUNCE, Signature=base64.b64encode(b"x" * 256).decode()),
    "twilio": v.twilio(v.TWILIO_FIELDS, token="another token"),
    "vonage": v.vonage(v.VONAGE_FIELDS, secret="another secret"),
    "vonage_message": v.vonage_message(v.VONAGE_STATUS, secret="another secret"),
}


@pytest.mark.parametrize("name", sorted(STRANGERS))
def test_a_report_of_a_stranger_is_refused(name):
    """Its signature is of another secret."""
    assert "no_match" == refusal(STRANGERS[name], name=name)


@pytest.mark.parametrize("name", ["mailgun", "sendgrid", "ses", "vonage", "vonage_message"])
@pytest.mark.parametrize(("late", "reason"), [(DAY + HOUR, "timestamp_too_old"), (-HOUR, "timestamp_too_new")])
def test_an_old_report_is_refused(name, late, reason):
    """A signed time limits how long a report can be replayed."""
    assert reason == refusal(v.GENUINE[name](), name=name, now=v.NOW + late)


@pytest.mark.parametrize("name", sorted(v.GENUINE))
@pytest.mark.parametrize(
    ("body", "reason"), [(b"x" * (MAX_BODY + 1), "body_too_large"), ("text", "body_type"), (None, "body_type")]
)
def test_bodies_are_bytes_and_bounded(name, body, reason):
    """Nothing larger is parsed."""
    assert reason == refusal(attrs.evolve(v.GENUINE[name](), body=body), name=name)


@pytest.mark.parametrize("name", sorted(v.GENUINE))
@pytest.mark.parametrize("headers", [None, [7], [("a", "b", "c")], [("a", "b")] * 1001], ids=str)
def test_headers_may_be_anything(name, headers):
    """What is no headers is refused, unless the vendor's signature is in the body."""
    report = attrs.evolve(v.GENUINE[name](), headers=headers)

    if name == "mailgun":
        assert 1 == len(read(report, name=name))
    else:
        assert "headers_malformed" == refusal(report, name=name)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("sendgrid", "X-Twilio-Email-Event-Webhook-Signature"),
        ("sendgrid", "X-Twilio-Email-Event-Webhook-Timestamp"),
        ("twilio", "X-Twilio-Signature"),
    ],
)
def test_signed_headers_are_there_once(name, header):
    """None, two, a long one and one that is no text are refused."""
    report = v.GENUINE[name]()
    others = [(key, value) for key, value in report.headers.items() if key != header]

    def answer(*values: Any) -> str:
        return refusal(
            attrs.evolve(report, headers=cast("Any", [*others, *((header, value) for value in values)])), name=name
        )

    assert ["header_missing", "header_duplicate", "header_too_long", "headers_malformed"] == [
        answer(),
        answer("a", "a"),
        answer("a" * 5000),
        answer(7),
    ]


@pytest.mark.parametrize("signature", ["", "?", "AAAA", "ä", "AAA=="])
def test_a_signature_of_sendgrid_is_base64_in_one_spelling(signature):
    """Anything else does not match."""
    report = v.sendgrid(v.SENDGRID_EVENT)
    headers = {**report.headers, "X-Twilio-Email-Event-Webhook-Signature": signature}

    assert "no_match" == refusal(attrs.evolve(report, headers=headers), name="sendgrid")


@pytest.mark.parametrize("timestamp", ["", "-1", "1e9", "١٢٣", "9" * 12])
def test_a_timestamp_is_a_number_of_seconds(timestamp):
    """Anything else is malformed."""
    report = v.sendgrid(v.SENDGRID_EVENT)
    headers = {**report.headers, "X-Twilio-Email-Event-Webhook-Timestamp": timestamp}

    assert "timestamp_malformed" == refusal(attrs.evolve(report, headers=headers), name="sendgrid")


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'"x"', b"[7]", b"[[]]", b"\xff", b"[" * 100_000])
def test_sendgrid_signs_an_array_of_objects(body):
    """A signed body of another kind is malformed."""
    assert "payload_malformed" == refusal(v.sendgrid(body=body), name="sendgrid")


def test_receipts_of_a_request_are_bounded():
    """More is a mistake."""
    events = [{"event": "open", "sg_message_id": str(i)} for i in range(MAX_RECEIPTS + 1)]

    assert MAX_RECEIPTS == len(read(v.sendgrid(*events[1:]), name="sendgrid"))
    assert "payload_malformed" == refusal(v.sendgrid(*events), name="sendgrid")


# ── what events mean ───────────────────────────────────────────────────────────────────────────


def seen(receipts: list[ProviderReceipt]) -> list[tuple[str, bool]]:
    return [(receipt.kind.value, receipt.permanent) for receipt in receipts]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"event": "processed"}, ("sent", False)),
        ({"event": "deferred"}, ("deferred", False)),
        ({"event": "delivered"}, ("delivered", False)),
        ({"event": "bounce", "status": "5.1.1"}, ("bounced", True)),
        ({"event": "bounce", "status": None}, ("bounced", True)),
        ({"event": "bounce", "status": "5.2.2"}, ("bounced", False)),
        ({"event": "bounce", "status": "5.7.1"}, ("bounced", False)),
        ({"event": "bounce", "status": "4.4.1"}, ("bounced", False)),
        ({"event": "bounce", "type": "blocked"}, ("bounced", False)),
        ({"event": "dropped", "reason": "Bounced Address"}, ("failed", False)),
        ({"event": "open"}, ("opened", False)),
        ({"event": "click"}, ("clicked", False)),
        ({"event": "spamreport"}, ("complained", False)),
        ({"event": "unsubscribe"}, ("unsubscribed", False)),
        ({"event": "group_unsubscribe"}, ("unsubscribed", False)),
        ({"event": "group_resubscribe"}, None),
        ({"event": ["bounce"]}, None),
    ],
)
def test_events_of_sendgrid(changes, expected):
    """A bounce is definitive unless its status says that it is about something else."""
    assert ([] if expected is None else [expected]) == seen(
        read(v.sendgrid({**v.SENDGRID_EVENT, **changes}), name="sendgrid")
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"event": "accepted"}, ("sent", False)),
        ({"event": "delivered"}, ("delivered", False)),
        ({"severity": "temporary"}, ("deferred", False)),
        ({"reason": "bounce", "delivery-status": {"code": 550}}, ("bounced", True)),
        ({"reason": "bounce", "delivery-status": {"code": 550, "enhanced-code": "5.7.1"}}, ("bounced", False)),
        ({"reason": "bounce", "delivery-status": {"code": 552}}, ("bounced", False)),
        ({"reason": "suppress-unsubscribe"}, ("failed", False)),
        ({"reason": ["bounce"]}, ("failed", False)),
        ({"event": "rejected"}, ("failed", False)),
        ({"event": "opened"}, ("opened", False)),
        ({"event": "clicked"}, ("clicked", False)),
        ({"event": "unsubscribed"}, ("unsubscribed", False)),
        ({"event": "complained"}, ("complained", False)),
        ({"event": "stored"}, None),
    ],
)
def test_events_of_mailgun(changes, expected):
    """Only a permanent failure with a code of a mailbox that is not there is definitive."""
    assert ([] if expected is None else [expected]) == seen(
        read(v.mailgun({**v.MAILGUN_EVENT, **changes}), name="mailgun")
    )


@pytest.mark.parametrize("signature", [None, {}, {"timestamp": 1, "token": 2, "signature": 3}])
def test_mailgun_needs_a_signature(signature):
    """Without one the request is malformed."""
    body = v.as_json({"signature": signature, "event-data": v.MAILGUN_EVENT})

    assert "payload_malformed" == refusal(v.Report(body=body), name="mailgun")


SES_EVENTS: list[tuple[str, dict[str, Any], list[tuple[str, bool]]]] = [
    ("Send", {"send": {}}, [("sent", False)]),
    ("Delivery", {"delivery": {"recipients": ["ada@example.org"]}}, [("delivered", False)]),
    ("DeliveryDelay", {"deliveryDelay": {"delayedRecipients": [{"status": "4.4.1"}]}}, [("deferred", False)]),
    ("Bounce", {"bounce": {"bounceType": "Transient", "bouncedRecipients": [{}, {}]}}, [("bounced", False)] * 2),
    ("Bounce", {"bounce": {"bounceType": "Permanent", "bounceSubType": "Suppressed"}}, [("bounced", True)]),
    (
        "Bounce",
        {"bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"status": "5.7.1"}]}},
        [("bounced", False)],
    ),
    ("Bounce", {"bounce": {"bounceType": "Undetermined"}}, [("bounced", False)]),
    ("Complaint", {"complaint": {"complaintFeedbackType": "abuse"}}, [("complained", False)]),
    ("Complaint", {"complaint": {"complaintFeedbackType": "not-spam"}}, []),
    ("Reject", {"reject": {"reason": "Bad content"}}, [("failed", False)]),
    ("Rendering Failure", {"failure": {}}, [("failed", False)]),
    ("Open", {"open": {}}, [("opened", False)]),
    ("Click", {"click": {}}, [("clicked", False)]),
    ("Subscription", {"subscription": {"newTopicPreferences": {"unsubscribeAll": True}}}, [("unsubscribed", False)]),
    ("Subscription", {"subscription": {"newTopicPreferences": {"unsubscribeAll": False}}}, []),
    ("Something", {}, []),
]


@pytest.mark.parametrize("field", ["eventType", "notificationType"])
@pytest.mark.parametrize(("type_", "content", "expected"), SES_EVENTS)
def test_events_of_ses(field, type_, content, expected):
    """Only a permanent bounce is definitive; each recipient has a receipt."""
    assert expected == seen(read(v.ses({field: type_, "mail": v.SES_MAIL, **content}), name="ses"))


@pytest.mark.parametrize("content", ["plain text", 7, [], None, {"eventType": ["Bounce"]}, {"eventType": "Bounce"}])
def test_ses_may_say_anything(content):
    """What reports nothing is no receipt, and no error: SNS itself announces a new destination in plain text."""
    message = v.ses(content) if not isinstance(content, str) else v.ses(None, Message=content)

    assert len(read(message, name="ses")) == (1 if content == {"eventType": "Bounce"} else 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("bounced", True)),
        ({"Type": "BadEmailAddress"}, ("bounced", True)),
        ({"Type": "SoftBounce"}, ("bounced", False)),
        ({"Type": "Transient"}, ("deferred", False)),
        ({"Type": "Blocked"}, ("failed", False)),
        ({"RecordType": "Delivery"}, ("delivered", False)),
        ({"RecordType": "SpamComplaint"}, ("complained", False)),
        ({"RecordType": "Open"}, ("opened", False)),
        ({"RecordType": "Click"}, ("clicked", False)),
        (
            {"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "ManualSuppression"},
            ("unsubscribed", False),
        ),
        ({"RecordType": "SubscriptionChange", "SuppressSending": True, "SuppressionReason": "HardBounce"}, None),
        ({"RecordType": "SubscriptionChange", "SuppressSending": False}, None),
        ({"RecordType": "Inbound"}, None),
    ],
)
def test_records_of_postmark(changes, expected):
    """Two types of bounces are definitive."""
    assert ([] if expected is None else [expected]) == seen(
        read(v.postmark({**v.POSTMARK_BOUNCE, **changes}), name="postmark")
    )


def test_postmark_may_send_a_header():
    """In place of a user and a password, one that its settings name."""
    report = v.Report(headers={"X-Webhook-Token": "s3cret"}, body=v.as_json(v.POSTMARK_BOUNCE))

    assert 1 == len(read(report, PostmarkReceipts("X-Webhook-Token: s3cret")))
    assert "no_match" == refusal(report, PostmarkReceipts("X-Webhook-Token: other"))
    assert "payload_malformed" == refusal(attrs.evolve(report, body=b"[]"), PostmarkReceipts("x-webhook-token: s3cret"))


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("sent", None, ("sent", False)),
        ("delivered", None, ("delivered", False)),
        ("undelivered", "30003", ("failed", False)),
        ("undelivered", "30006", ("bounced", True)),
        ("failed", "30007", ("failed", False)),
        ("failed", "21610", ("unsubscribed", False)),
        ("delivered", "30005", ("delivered", False)),
        ("read", None, ("opened", False)),
        ("queued", None, None),
    ],
)
def test_statuses_of_twilio(status, code, expected):
    """A number is gone only by a code that says so."""
    fields = {**v.TWILIO_FIELDS, "MessageStatus": status, "ErrorCode": code or ""}

    assert ([] if expected is None else [expected]) == seen(read(v.twilio(fields), name="twilio"))


@pytest.mark.parametrize(
    ("called", "signed"),
    [
        ("https://shop.example/r", "https://shop.example:443/r"),
        ("https://shop.example:8443/r?x=1", "https://shop.example/r?x=1"),
        ("http://shop.example/r", "http://shop.example:80/r"),
    ],
)
def test_twilio_may_sign_the_port(called, signed):
    """It is not consistent in this."""
    assert 1 == len(read(v.twilio(v.TWILIO_FIELDS, url=called, signed=signed), name="twilio"))


@pytest.mark.parametrize("url", ["https://shop.example/other", "https://evil.example/r", "//[", "https://h:99999999/"])
def test_twilio_signs_the_url(url):
    """Another one does not match."""
    report = v.twilio(v.TWILIO_FIELDS, url="https://shop.example/r")

    assert "no_match" == refusal(attrs.evolve(report, url=url), name="twilio")


def test_twilio_names_the_message():
    """A form without it is malformed, and so is one with very many fields."""
    for name in ("AccountSid", "MessageSid", "MessageStatus"):
        fields = {key: value for key, value in v.TWILIO_FIELDS.items() if key != name}
        assert "payload_malformed" == refusal(v.twilio(fields), name="twilio")
    assert "payload_malformed" == refusal(v.twilio({str(i): "" for i in range(300)}), name="twilio")


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("ErrorCode=30005", "ErrorCode30005="),
        ("ErrorCode=30005", "ErrorCod=e30005"),
        ("ErrorCode=30005&From=%2B15017122661", "ErrorCode=30005From%2B15017122661"),
        ("MessageStatus=undelivered&SmsSid=", "MessageStatus=undeliveredSmsSid"),
        ("MessageSid=SM", "MessageSidS=M"),
        ("To=%2B15558675310", "To%2B15558675310="),
    ],
)
def test_what_twilio_signs_is_read_in_one_way(part, other):
    """Names and values that are cut at another place have the same signature, and are refused."""
    report = v.twilio(v.TWILIO_FIELDS)
    assert part.encode() in report.body

    assert "payload_malformed" == refusal(
        attrs.evolve(report, body=report.body.replace(part.encode(), other.encode())), name="twilio"
    )


def test_what_vonage_signs_is_read_in_one_way():
    """A name that contains two fields has the same signature, and is refused."""
    body = v.vonage(v.VONAGE_FIELDS).body
    swapped = body.replace(b"client-ref=dlv_", b"client-ref=dlv%26")
    genuine, changed = (v.Report(body=each) for each in (body, swapped))
    assert body != swapped
    fields = {**v.VONAGE_FIELDS}
    fields["err-code=0&message-timestamp"] = fields.pop("message-timestamp")
    del fields["err-code"]

    assert "payload_malformed" == refusal(v.vonage(fields), name="vonage")
    assert read(genuine, name="vonage") == read(changed, name="vonage")


def test_what_sns_signs_is_read_in_one_way():
    """A field with several lines may be two."""
    message = json.loads(v.ses(v.SES_BOUNCE).body)
    message["MessageId"] += f"\nSubject\n{message.pop('Subject')}"

    assert "payload_malformed" == refusal(v.Report(body=v.as_json(message)), name="ses")


def test_twilio_may_name_the_algorithm():
    """One that is not known does not match."""
    report = v.twilio(v.TWILIO_FIELDS)
    headers = {**report.headers, "X-Twilio-Webhooks-Signature-Settings": "key=k,algorithm=HMAC_MD4"}

    assert "no_match" == refusal(attrs.evolve(report, headers=headers), name="twilio")


@pytest.mark.parametrize("form", ["form", "json", "query"])
@pytest.mark.parametrize("method", METHODS)
def test_vonage_signs_in_several_ways(form, method):
    """Each method, in each form in which the SMS API sends."""
    fields = {**v.VONAGE_FIELDS, "client-ref": "a&b=c"}

    (receipt,) = read(v.vonage(fields, form=form, method=method), VonageReceipts(v.VONAGE_SECRET, method=method))

    assert ("delivered", "a_b_c") == (receipt.kind, receipt.delivery_id)  # what is signed


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "accepted"}, ("sent", False)),
        ({"status": "buffered"}, ("deferred", False)),
        ({"status": "failed", "err-code": "3"}, ("bounced", True)),
        ({"status": "rejected", "err-code": "6"}, ("failed", False)),
        ({"status": "expired", "err-code": "2"}, ("failed", False)),
        ({"status": "delivered", "err-code": "9"}, ("delivered", False)),
        ({"status": "new"}, None),
        ({"messageId": ""}, None),
    ],
)
def test_statuses_of_vonage(changes, expected):
    """A number is gone only by a code that says so."""
    assert ([] if expected is None else [expected]) == seen(
        read(v.vonage({**v.VONAGE_FIELDS, **changes}), name="vonage")
    )


def test_vonage_may_write_the_signature_in_capitals():
    """Not in both cases."""
    signature = v.vonage_signature(v.VONAGE_FIELDS)
    bodies = [v.as_json({**v.VONAGE_FIELDS, "sig": each}) for each in (signature.upper(), signature.title())]
    upper, mixed = (v.Report(headers={"content-type": "application/json"}, body=body) for body in bodies)

    assert 1 == len(read(upper, name="vonage"))
    assert "no_match" == refusal(mixed, name="vonage")


@pytest.mark.parametrize("left_out", ["sig", "timestamp"])
def test_vonage_needs_a_signature(left_out):
    """A receipt without one is refused: signed receipts are a setting of the account."""
    fields = {**v.VONAGE_FIELDS, "sig": v.vonage_signature(v.VONAGE_FIELDS)}
    del fields[left_out]

    assert "no_match" == refusal(
        v.Report(headers={"content-type": "application/json"}, body=v.as_json(fields)), name="vonage"
    )


@pytest.mark.parametrize("url", ["https://shop.example/vonage", "//["])
def test_vonage_may_send_nothing(url):
    """A request without fields is refused."""
    assert refusal(v.Report(body=b"", url=url), name="vonage") in ("no_match", "payload_malformed")


@pytest.mark.parametrize(
    "claims",
    [{"payload_hash": "0" * 64}, {"payload_hash": None}, {"payload_hash": "ä"}],
)
def test_a_token_of_vonage_is_for_one_body(claims):
    """Its claim is a hash of the body."""
    assert "no_match" == refusal(v.vonage_message(v.VONAGE_STATUS, **claims), name="vonage")


def test_a_token_of_vonage_has_a_time():
    """Without it a replay could not be told."""
    assert "timestamp_malformed" == refusal(v.vonage_message(v.VONAGE_STATUS, iat=None), name="vonage")


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "RS256"}, {"alg": "hs256"}, [], "x"])
def test_a_token_of_vonage_is_signed_with_hs256(header):
    """A token cannot choose."""
    assert "no_match" == refusal(v.vonage_message(v.VONAGE_STATUS, header=header), name="vonage")


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer a.b", "Basic dTpw", "Bearer ä.b.c", "Bearer a.b.c"])
def test_an_authorization_that_is_no_token_is_refused(value):
    """Nothing else is tried then."""
    report = attrs.evolve(v.vonage(v.VONAGE_FIELDS), headers={"Authorization": value})

    assert "no_match" == refusal(report, name="vonage")


# ── the certificate of SNS ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", ["1", "2"])
def test_sns_signs_with_a_certificate(version):
    """Both versions; the certificate is fetched once."""
    fetch = Fetch()
    verifier = SesReceipts(v.TOPIC, fetch=fetch)

    for _ in range(2):
        assert 1 == len(read(v.ses(v.SES_BOUNCE, SignatureVersion=version), verifier))

    assert [v.CERTIFICATE_URL] == fetch.urls


def test_a_message_of_sns_may_have_no_subject():
    """Then it is not signed."""
    assert 1 == len(read(v.ses(v.SES_BOUNCE, Subject=None), name="ses"))


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
        "https://evil.example/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-1.pem",
        "https://user@sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-1.pem",
        "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com/evil/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem?x=1",
        "https://sns.eu-west-1.amazonaws.com/?Action=Publish",
        "https://sns.eu-west-1.amazonaws.com\\@evil.example/SimpleNotificationService-1.pem",
        "https://[/SimpleNotificationService-1.pem",
        "",
    ],
)
def test_certificates_come_from_sns_only(url):
    """Nothing is fetched from anywhere else."""
    fetch = Fetch()

    assert "certificate_refused" == refusal(v.ses(v.SES_BOUNCE, SigningCertURL=url), SesReceipts(v.TOPIC, fetch=fetch))
    assert [] == fetch.urls


@pytest.mark.parametrize(
    "content",
    [
        b"no certificate",
        v.certificate(until=v.NOW - HOUR),
        v.certificate(ec.generate_private_key(ec.SECP256R1())),
    ],
    ids=["none", "expired", "no RSA key"],
)
def test_a_certificate_must_be_one(content):
    """It is read, valid now, and has an RSA key."""
    assert "certificate_refused" == refusal(v.ses(v.SES_BOUNCE), SesReceipts(v.TOPIC, fetch=Fetch(content)))


def test_a_certificate_that_cannot_be_fetched_is_an_answer():
    """The network may fail in any way."""

    def fetch(url: str) -> bytes:
        raise OSError(url)

    assert "certificate_refused" == refusal(v.ses(v.SES_BOUNCE), SesReceipts(v.TOPIC, fetch=fetch))
    assert "certificate_refused" == refusal(v.subscription(), SesReceipts(v.TOPIC, fetch=fetch))


def test_certificates_are_kept_up_to_a_bound():
    """A request can name the URL of another one."""
    fetch = Fetch()
    verifier = SesReceipts(v.TOPIC, fetch=fetch)
    urls = [v.CERTIFICATE_URL.replace(".pem", f"{i}.pem") for i in range(100)]

    for url in (*urls, urls[-1]):
        assert 1 == len(read(v.ses(v.SES_BOUNCE, SigningCertURL=url), verifier))

    assert urls == fetch.urls
    assert 64 == len(verifier._certificates)


@pytest.mark.parametrize("make", [v.subscription, lambda **changes: v.ses(v.SES_BOUNCE, **changes)])
def test_another_topic_is_refused_before_anything_is_fetched(make):
    """Any account may subscribe our URL to its topic, and SNS signs that."""
    fetch = Fetch()
    report = make(TopicArn="arn:aws:sns:eu-west-1:999999999999:mails")

    assert "topic_unknown" == refusal(report, SesReceipts(v.TOPIC, fetch=fetch))
    assert [] == fetch.urls


def test_the_subscription_to_an_allowed_topic_is_confirmed():
    """Its signature is verified first."""
    fetch, report = Fetch(), v.subscription()

    assert [] == read(report, SesReceipts(v.TOPIC, fetch=fetch))
    assert [v.CERTIFICATE_URL, json.loads(report.body)["SubscribeURL"]] == fetch.urls

    assert "no_match" == refusal(v.subscription(Signature="AAAA"), SesReceipts(v.TOPIC, fetch=fetch))
    assert 3 == len(fetch.urls)


def test_a_confirmation_leads_to_sns():
    """A URL of another host is not visited, even if it is signed."""
    fetch = Fetch()

    report = v.subscription(SubscribeURL="https://evil.example/?Action=ConfirmSubscription")

    assert "certificate_refused" == refusal(report, SesReceipts(v.TOPIC, fetch=fetch))
    assert [v.CERTIFICATE_URL] == fetch.urls


def test_a_confirmation_may_fail():
    """SNS asks again."""

    def fetch(url: str) -> bytes:
        if "Confirm" in url:
            raise OSError(url)
        return v.certificate()

    assert "confirmation_failed" == refusal(v.subscription(), SesReceipts(v.TOPIC, fetch=fetch))


def test_the_end_of_a_subscription_is_no_receipt():
    """It is verified like any message."""
    assert [] == read(v.subscription(Type="UnsubscribeConfirmation"), name="ses")


@pytest.mark.parametrize(
    "changes",
    [
        {"Type": "Other"},
        {"Type": ["Notification"]},
        {"Message": 7},
        {"MessageId": None},
        {"Timestamp": None},
        {"SignatureVersion": "3"},
    ],
)
def test_a_message_of_sns_has_its_fields(changes):
    """Otherwise it is malformed."""
    body = v.as_json({**json.loads(v.ses(v.SES_BOUNCE).body), **changes})

    assert "payload_malformed" == refusal(v.Report(body=body), name="ses")


def test_the_header_of_sns_is_that_of_the_body():
    """A message is not taken for one of another type."""
    report = attrs.evolve(v.ses(v.SES_BOUNCE), headers={"x-amz-sns-message-type": "SubscriptionConfirmation"})

    assert "payload_malformed" == refusal(report, name="ses")
    assert "timestamp_malformed" == refusal(v.ses(v.SES_BOUNCE, Timestamp="yesterday"), name="ses")


# ── texts of unknown origin ────────────────────────────────────────────────────────


def test_values_are_made_fit_to_be_stored():
    """Control characters are left out, what is long is cut, and an id that cannot be kept is hashed."""
    event = {
        **v.SENDGRID_EVENT,
        "status": None,
        "reason": "bad\x00 \ud800" + "x" * 500,
        "email": "ada@example.org\n",
        "sg_event_id": "id " + "y" * 197,
        "timestamp": "never",
        "delivery_id": ["no text"],
    }

    (receipt,) = read(v.sendgrid(event), name="sendgrid")

    assert ("bad ", "ada@example.org", v.NOW, None) == (
        str(receipt.code)[:4],
        receipt.address,
        receipt.at,
        receipt.delivery_id,
    )
    assert len(str(receipt.code)) <= 200


@pytest.mark.parametrize(
    "time",
    [None, [], True, float("inf"), -(10**20), 10**30, "", "0001-01-01T00:00:00+14:00", v.UNIX + 10**6, "1900-01-01"],
)
def test_a_time_that_is_none_is_now(time):
    """And so is one that has not come yet."""
    (receipt,) = read(v.sendgrid({**v.SENDGRID_EVENT, "timestamp": time}), name="sendgrid")

    assert v.NOW == receipt.at
