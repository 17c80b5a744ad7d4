"""What vendors send, signed as each of them signs: computed here from their descriptions, without our code.

Payloads follow the examples in the vendors' documentation, with addresses and ids of our own.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlencode

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

NOW = dt.datetime(2026, 11, 29, 12, 0, tzinfo=dt.UTC)
UNIX = int(NOW.timestamp())
DELIVERY = "dlv_01KJMMA2KV0000000000000001V0WBGJ16TZKC3"
URL = "https://shop.example/receipts"


@attrs.frozen(kw_only=True)
class Report:
    """A request of a vendor."""

    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes
    url: str = URL


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


# ── SendGrid ───────────────────────────────────────────────────────────────────────────────────

SENDGRID_EVENT: dict[str, Any] = {
    "email": "ada@example.org",
    "timestamp": UNIX - 60,
    "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
    "event": "bounce",
    "category": ["cat facts"],
    "sg_event_id": "6g4ZI7SA-xmRDv57GoPIPw==",
    "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
    "reason": "500 unknown recipient",
    "status": "5.0.0",
    "type": "bounce",
    "delivery_id": DELIVERY,
}


@cache
def sendgrid_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def spki(key: Any) -> str:
    """Return a public key as SendGrid shows it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_key().public_bytes(serialization.Encoding.DER, form)).decode()


def sendgrid(*events: Any, at: int = UNIX, body: bytes | None = None) -> Report:
    body = as_json([*events]) if body is None else body
    signature = sendgrid_key().sign(str(at).encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": str(at),
    }
    return Report(headers=headers, body=body)


# ── Mailgun ────────────────────────────────────────────────────────────────────────────────────

MAILGUN_KEY = "key-0123456789abcdef"
MAILGUN_EVENT: dict[str, Any] = {
    "id": "G9Bn5sl1TC6nu79C8C0bwg",
    "timestamp": UNIX - 60.5,
    "log-level": "error",
    "event": "failed",
    "severity": "permanent",
    "reason": "suppress-bounce",
    "delivery-status": {
        "attempt-no": 1,
        "message": "",
        "code": 605,
        "enhanced-code": "",
        "description": "Not delivering to previously bounced address",
        "session-seconds": 0.0,
    },
    "message": {
        "headers": {
            "to": "Ada <ada@example.org>",
            "message-id": "20130503192659.13651.20287@mg.example.org",
            "from": "Shop <shop@mg.example.org>",
            "subject": "Your order",
        },
        "size": 111,
    },
    "recipient": "ada@example.org",
    "user-variables": {"delivery_id": DELIVERY},
}


def mailgun(event: Any, *, at: int = UNIX, token: str = "a" * 50, key: str = MAILGUN_KEY) -> Report:
    signature = hmac.new(key.encode(), f"{at}{token}".encode(), hashlib.sha256).hexdigest()
    content = {"signature": {"timestamp": str(at), "token": token, "signature": signature}, "event-data": event}
    return Report(headers={"Content-Type": "application/json"}, body=as_json(content))


# ── SES over SNS ───────────────────────────────────────────────────────────────────────────────

TOPIC = "arn:aws:sns:eu-west-1:123456789012:mails"
CERTIFICATE_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"
SES_MAIL: dict[str, Any] = {
    "timestamp": "2026-11-29T11:58:00.000Z",
    "source": "shop@example.org",
    "messageId": "010001499999-reference",
    "destination": ["ada@example.org"],
    "tags": {"delivery_id": [DELIVERY], "ses:from-domain": ["example.org"]},
}
SES_BOUNCE: dict[str, Any] = {
    "eventType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [
            {
                "emailAddress": "ada@example.org",
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 user unknown",
            }
        ],
        "timestamp": "2026-11-29T11:59:00.000Z",
        "feedbackId": "01000157c44f053b-61b59c11",
    },
    "mail": SES_MAIL,
}


@cache
def sns_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(key: Any = None, *, until: dt.datetime = NOW + dt.timedelta(days=30)) -> bytes:
    key = key or sns_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - dt.timedelta(days=90))
        .not_valid_after(until)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def ses(content: Any, **changes: Any) -> Report:
    message = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": json.dumps(content),
        "Timestamp": "2026-11-29T11:59:30.000Z",
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
    }
    return sns({**message, **changes})


def subscription(**changes: Any) -> Report:
    message = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37",
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe to the topic.",
        "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37",
        "Timestamp": "2026-11-29T11:59:30.000Z",
        "SignatureVersion": "1",
        "SigningCertURL": CERTIFICATE_URL,
    }
    return sns({**message, **changes})


def sns(message: dict[str, Any]) -> Report:
    names = (
        ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
        if message["Type"] == "Notification"
        else ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    )
    text = "".join(f"{name}\n{message[name]}\n" for name in names if message.get(name) is not None)
    made = hashes.SHA1() if message["SignatureVersion"] == "1" else hashes.SHA256()
    signature = base64.b64encode(sns_key().sign(text.encode(), padding.PKCS1v15(), made)).decode()
    headers = {"x-amz-sns-message-type": message["Type"], "Content-Type": "text/plain; charset=UTF-8"}
    return Report(headers=headers, body=as_json({"Signature": signature, **message}))


# ── Postmark ───────────────────────────────────────────────────────────────────────────────────

POSTMARK_LOGIN = "notify:correct-horse"
POSTMARK_BOUNCE: dict[str, Any] = {
    "RecordType": "Bounce",
    "MessageStream": "outbound",
    "ID": 4323372036854775807,
    "Type": "HardBounce",
    "TypeCode": 1,
    "Name": "Hard bounce",
    "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
    "Metadata": {"delivery_id": DELIVERY},
    "Description": "The server was unable to deliver your message",
    "Email": "ada@example.org",
    "From": "shop@example.org",
    "BouncedAt": "2026-11-29T11:59:00Z",
    "Inactive": True,
}


def postmark(record: Any, *, login: str = POSTMARK_LOGIN) -> Report:
    basic = base64.b64encode(login.encode()).decode()
    return Report(headers={"Authorization": f"Basic {basic}"}, body=as_json(record))


# ── Twilio ─────────────────────────────────────────────────────────────────────────────────────

TWILIO_TOKEN = "12345678901234567890123456789012"
TWILIO_URL = f"{URL}/twilio?delivery_id={DELIVERY}"
TWILIO_FIELDS = {
    "AccountSid": "AC" + "0" * 32,
    "ApiVersion": "2010-04-01",
    "ErrorCode": "30005",
    "From": "+15017122661",
    "MessageSid": "SM" + "1" * 32,
    "MessageStatus": "undelivered",
    "SmsSid": "SM" + "1" * 32,
    "SmsStatus": "undelivered",
    "To": "+15558675310",
}


def twilio(fields: dict[str, str], *, url: str = TWILIO_URL, token: str = TWILIO_TOKEN, signed: str = "") -> Report:
    text = (signed or url) + "".join(name + fields[name] for name in sorted(fields))
    signature = base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    return Report(headers=headers, body=urlencode(fields).encode(), url=url)


# ── Vonage ─────────────────────────────────────────────────────────────────────────────────────

VONAGE_SECRET = "aBc0123456789signature"
VONAGE_FIELDS: dict[str, Any] = {
    "msisdn": "447700900000",
    "to": "AcmeInc",
    "network-code": "12345",
    "messageId": "0A0000001234567B",
    "price": "0.03330000",
    "status": "delivered",
    "scts": "2001011400",
    "err-code": "0",
    "api-key": "abcd1234",
    "client-ref": DELIVERY,
    "message-timestamp": "2026-11-29 11:59:00",
    "nonce": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    "timestamp": str(UNIX),
}
VONAGE_STATUS: dict[str, Any] = {
    "message_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
    "to": "447700900000",
    "from": "447700900001",
    "timestamp": "2026-11-29T11:59:00.000Z",
    "status": "undeliverable",
    "error": {"type": "https://developer.vonage.com/api-errors/messages#1330", "title": 1330, "detail": "Unknown"},
    "client_ref": DELIVERY,
    "channel": "sms",
}


def vonage_signature(fields: dict[str, Any], *, method: str = "sha256", secret: str = VONAGE_SECRET) -> str:
    text = "".join(f"&{name}={str(fields[name]).replace('&', '_').replace('=', '_')}" for name in sorted(fields))
    if method == "md5hash":
        return hashlib.md5((text + secret).encode()).hexdigest()
    return hmac.new(secret.encode(), text.encode(), method).hexdigest()


def vonage(fields: dict[str, Any], *, form: str = "form", **options: str) -> Report:
    signed = {**fields, "sig": vonage_signature(fields, **options)}
    if form == "query":
        return Report(body=b"", url=f"{URL}/vonage?{urlencode(signed)}")
    if form == "json":
        return Report(headers={"Content-Type": "application/json"}, body=as_json(signed))
    return Report(headers={"Content-Type": "application/x-www-form-urlencoded"}, body=urlencode(signed).encode())


def jwt(claims: Any, *, secret: str = VONAGE_SECRET, header: Any = None) -> str:
    parts = [
        base64.urlsafe_b64encode(as_json(part)).rstrip(b"=")
        for part in ({"alg": "HS256"} if header is None else header, claims)
    ]
    signed = b".".join(parts)
    mac = base64.urlsafe_b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).rstrip(b"=")
    return (signed + b"." + mac).decode()


def vonage_message(content: Any, *, secret: str = VONAGE_SECRET, header: Any = None, **claims: Any) -> Report:
    body = as_json(content)
    says = {"iat": UNIX, "jti": "1", "iss": "Vonage", "payload_hash": hashlib.sha256(body).hexdigest(), **claims}
    token = jwt(says, secret=secret, header=header)
    return Report(headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"}, body=body)


#: One genuine request of each vendor.
GENUINE: dict[str, Callable[[], Report]] = {
    "mailgun": lambda: mailgun(MAILGUN_EVENT),
    "postmark": lambda: postmark(POSTMARK_BOUNCE),
    "sendgrid": lambda: sendgrid(SENDGRID_EVENT),
    "ses": lambda: ses(SES_BOUNCE),
    "twilio": lambda: twilio(TWILIO_FIELDS),
    "vonage": lambda: vonage(VONAGE_FIELDS),
    "vonage_message": lambda: vonage_message(VONAGE_STATUS),
}
