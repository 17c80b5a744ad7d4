"""Amazon SES through SNS: a notification signed with a certificate of AWS.

The signature proves that SNS has sent the message, and not that you asked for it: any AWS account can subscribe your
URL to one of its topics.  So topics are allowed by their ARN, which names the account, and a subscription to another
topic is never confirmed.  Not written down by AWS, and pinned by the tests: the name of the certificate's file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from ...errors import ConfigurationError
from ...models.receipt import ProviderReceipt, ReceiptKind
from ...signing import VerificationError
from ...signing.verifier import ReceivedHeaders
from . import reading

if TYPE_CHECKING:
    from . import ReceiptVerifier

_TYPE: Final = "x-amz-sns-message-type"
_NOTIFICATION, _CONFIRMATION = "Notification", "SubscriptionConfirmation"
#: What is signed of each type of message, in this order.
_SIGNED: Final = {
    _NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    _CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
#: By the version of the signature; 1 is what topics have by default.
_HASHES: Final = {"1": SHA1, "2": SHA256}
_HOST: Final = re.compile(r"sns\.[a-z]{2}(-[a-z]+)+-[0-9]\.amazonaws\.com(\.cn)?")
_CERTIFICATE: Final = re.compile(r"/SimpleNotificationService-[0-9a-zA-Z]+\.pem")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}")
#: There is one at a time for each region, and a new one every few months.
_MOST_CERTIFICATES: Final = 64
_MAX_CERTIFICATE: Final = 16 * 1024


class SesReceipts:
    """Verifies what SES publishes to SNS topics.

    Args:
        topics: The ARN of the topic; or several.
        fetch: Returns what is behind a URL of SNS, or raises; it blocks.  By default httpx gets it.
        tolerance: How old a message may be.

    Raises:
        ConfigurationError: One is no ARN of a topic.
    """

    name = "ses"

    def __init__(
        self,
        topics: str | Iterable[str],
        *,
        fetch: Callable[[str], bytes] | None = None,
        tolerance: timedelta = reading.TOLERANCE,
    ) -> None:
        self._topics = frozenset(reading.secrets_of(topics, "the ARN of an SNS topic"))
        if wrong := [topic for topic in self._topics if not _ARN.fullmatch(topic)]:
            raise ConfigurationError(
                f"{wrong[0][:80]!r} is no ARN of an SNS topic; one looks like arn:aws:sns:eu-west-1:123456789012:mails"
            )
        self._fetch = fetch or _get
        self._tolerance = tolerance
        self._certificates: dict[str, x509.Certificate] = {}
        self._lock = Lock()

    def receipts(self, headers: ReceivedHeaders, body: bytes, url: str, *, now: datetime) -> list[ProviderReceipt]:
        """See :meth:`ReceiptVerifier.receipts`; the subscription to an allowed topic is confirmed here."""
        del url
        message = _message(reading.json_object(reading.parse_json(reading.require_body(body))))
        declared = reading.pick(headers, _TYPE).get(_TYPE, message["Type"])
        if declared != message["Type"]:
            reading.malformed(f"{_TYPE} is another one than that of the body")
        if message["TopicArn"] not in self._topics:
            raise VerificationError("topic_unknown")
        self._verify(message, now)
        if message["Type"] == _CONFIRMATION:
            self._confirm(message["SubscribeURL"])
        if message["Type"] != _NOTIFICATION:
            return []
        content = reading.json_object(_content(message["Message"]))
        return reading.limited(list(_receipts(content, message["MessageId"], now)))

    def _verify(self, message: Mapping[str, str], now: datetime) -> None:
        reading.require_near(_timestamp(message["Timestamp"]), now, self._tolerance)
        certificate = self._certificate(message["SigningCertURL"])
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise VerificationError("certificate_refused", "it is not valid now")
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise VerificationError("certificate_refused", "it has no RSA key")
        signed = "".join(f"{name}\n{message[name]}\n" for name in _SIGNED[message["Type"]] if name in message)
        try:
            key.verify(
                reading.base64_bytes(message["Signature"]),
                signed.encode("utf-8", "surrogatepass"),
                PKCS1v15(),
                _HASHES[message["SignatureVersion"]](),
            )
        except InvalidSignature:
            raise VerificationError("no_match") from None

    def _certificate(self, url: str) -> x509.Certificate:
        parts = _sns_url(url)
        if not _CERTIFICATE.fullmatch(parts.path) or parts.query:
            raise VerificationError("certificate_refused", "its URL is not one of SNS")
        with self._lock:
            known = self._certificates.get(url)
        if known is not None:
            return known
        try:
            certificate = x509.load_pem_x509_certificate(self._fetch(url)[:_MAX_CERTIFICATE])
        except Exception as error:  # whatever the network and the library raise
            raise VerificationError("certificate_refused", f"it cannot be had: {type(error).__name__}") from error
        with self._lock:
            while len(self._certificates) >= _MOST_CERTIFICATES:
                del self._certificates[next(iter(self._certificates))]
            self._certificates[url] = certificate
        return certificate

    def _confirm(self, url: str) -> None:
        _sns_url(url)
        try:
            self._fetch(url)
        except Exception as error:  # SNS asks again
            raise VerificationError("confirmation_failed", type(error).__name__) from error


def _get(url: str) -> bytes:
    import httpx

    with httpx.Client(timeout=5, follow_redirects=False, trust_env=False) as client:
        return client.get(url).raise_for_status().content


def _sns_url(url: str) -> Any:
    """Return the parts of a URL that leads to SNS."""
    try:
        parts = urlsplit(url)
        is_plain = parts.netloc == parts.hostname
    except ValueError:
        parts, is_plain = urlsplit(""), False
    if parts.scheme != "https" or not is_plain or not _HOST.fullmatch(parts.netloc) or not url.isascii():
        raise VerificationError("certificate_refused", "a URL does not lead to SNS")
    return parts


def _message(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a message: all that are signed, with the signature."""
    type_ = found.get("Type")
    if not isinstance(type_, str) or type_ not in _SIGNED:
        reading.malformed("Type is that of a message of SNS")
    names = (*_SIGNED[type_], "Signature", "SignatureVersion", "SigningCertURL")
    fields = {name: found[name] for name in names if found.get(name) is not None}
    if missing := [name for name in names if name not in fields and name != "Subject"]:
        reading.malformed(f"{missing[0]} is missing")
    if not all(isinstance(value, str) for value in fields.values()):
        reading.malformed("the fields of a message are texts")
    # Lines separate what is signed, so that one field could pretend to be two.
    if any("\n" in value for name, value in fields.items() if name not in ("Message", "Subject")):
        reading.malformed("a field has several lines")
    if fields["SignatureVersion"] not in _HASHES:
        reading.malformed("SignatureVersion is 1 or 2")
    return fields


def _timestamp(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise VerificationError("timestamp_malformed") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _content(text: str) -> Any:
    """Return what SES says; SNS itself sends a plain text when a destination is set up."""
    try:
        return reading.parse_json(text.encode("utf-8", "surrogatepass"))
    except VerificationError:
        return None


# ── what SES says ──────────────────────────────────────────────────────────────────────────────

#: The kind of each type, the field that has the details, and that of the recipients in them.
_KINDS: Final = {
    "Send": (ReceiptKind.SENT, "send", ""),
    "Delivery": (ReceiptKind.DELIVERED, "delivery", "recipients"),
    "DeliveryDelay": (ReceiptKind.DEFERRED, "deliveryDelay", "delayedRecipients"),
    "Bounce": (ReceiptKind.BOUNCED, "bounce", "bouncedRecipients"),
    "Complaint": (ReceiptKind.COMPLAINED, "complaint", "complainedRecipients"),
    "Reject": (ReceiptKind.FAILED, "reject", ""),
    "Rendering Failure": (ReceiptKind.FAILED, "failure", ""),
    "Open": (ReceiptKind.OPENED, "open", ""),
    "Click": (ReceiptKind.CLICKED, "click", ""),
    "Subscription": (ReceiptKind.UNSUBSCRIBED, "subscription", ""),
}


def _receipts(content: Mapping[str, Any], message_id: str, now: datetime) -> Iterable[ProviderReceipt]:
    type_ = content.get("eventType") or content.get("notificationType")
    if not isinstance(type_, str) or type_ not in _KINDS:
        return
    kind, field, of = _KINDS[type_]
    mail, details = reading.json_object(content.get("mail")), reading.json_object(content.get(field))
    if _says_nothing(kind, details):
        return
    tags = reading.json_list(reading.json_object(mail.get("tags")).get("delivery_id"))
    recipients = reading.json_list(details.get(of)) if of else reading.json_list(mail.get("destination"))
    for at, each in enumerate(recipients or [None]):
        recipient = reading.json_object(each)
        status = reading.text_of(recipient.get("status"), 20)
        is_hard = details.get("bounceType") == "Permanent" and reading.is_about_address(status)
        yield reading.receipt_of(
            "ses",
            kind,
            id=f"{message_id}:{at}",
            at=reading.instant_of(details.get("timestamp") or mail.get("timestamp"), now),
            reference=mail.get("messageId"),
            delivery_id=tags[0] if tags else None,
            address=recipient.get("emailAddress") if recipient else each,
            code=status or _code(details),
            permanent=kind is ReceiptKind.BOUNCED and is_hard,
        )


def _says_nothing(kind: ReceiptKind, details: Mapping[str, Any]) -> bool:
    """Tell whether a complaint is that the mail is no spam, or a change of preferences leaves something on."""
    if kind is ReceiptKind.COMPLAINED:
        return details.get("complaintFeedbackType") == "not-spam"
    if kind is ReceiptKind.UNSUBSCRIBED:
        return reading.json_object(details.get("newTopicPreferences")).get("unsubscribeAll") is not True
    return False


def _code(details: Mapping[str, Any]) -> Any:
    bounce = details.get("bounceSubType") or details.get("bounceType")
    return bounce or details.get("complaintFeedbackType") or details.get("delayType") or details.get("reason")


if TYPE_CHECKING:
    _conforms: type[ReceiptVerifier] = SesReceipts
