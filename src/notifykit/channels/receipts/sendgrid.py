"""SendGrid's Event Webhook: a JSON array, signed with ECDSA (P-256, SHA-256).

Verified are the headers ``X-Twilio-Email-Event-Webhook-Signature`` and ``…-Timestamp``.  The delivery's id comes back
as ``custom_args.delivery_id``, and ``X-Message-Id`` is the beginning of ``sg_message_id``.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ...errors import ConfigurationError
from ...models.receipt import ProviderReceipt, ReceiptKind, derived_id
from ...signing import VerificationError
from ...signing.verifier import ReceivedHeaders
from . import reading

if TYPE_CHECKING:
    from . import ReceiptVerifier

_SIGNATURE, _TIMESTAMP = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"
_KINDS: Final = {
    "processed": ReceiptKind.SENT,
    "deferred": ReceiptKind.DEFERRED,
    "delivered": ReceiptKind.DELIVERED,
    "bounce": ReceiptKind.BOUNCED,
    "dropped": ReceiptKind.FAILED,
    "open": ReceiptKind.OPENED,
    "click": ReceiptKind.CLICKED,
    "spamreport": ReceiptKind.COMPLAINED,
    "unsubscribe": ReceiptKind.UNSUBSCRIBED,
    "group_unsubscribe": ReceiptKind.UNSUBSCRIBED,
}


class SendGridReceipts:
    """Verifies the Event Webhook.

    Args:
        keys: The verification key that SendGrid shows ("Signed Event Webhook"), as it is; or several.
        tolerance: How old a request may be.

    Raises:
        ConfigurationError: One is no public key of P-256.
    """

    name = "sendgrid"

    def __init__(self, keys: str | Iterable[str], *, tolerance: timedelta = reading.TOLERANCE) -> None:
        self._keys = [_public_key(key) for key in reading.secrets_of(keys, "SendGrid's verification key")]
        self._tolerance = tolerance

    def receipts(self, headers: ReceivedHeaders, body: bytes, url: str, *, now: datetime) -> list[ProviderReceipt]:
        del url
        body = reading.require_body(body)
        found = reading.pick(headers, _SIGNATURE, _TIMESTAMP)
        signature, timestamp = reading.required(found, _SIGNATURE, _TIMESTAMP)
        reading.require_recent(timestamp, now, self._tolerance)
        signed, given = timestamp.encode() + body, reading.base64_bytes(signature)
        if not any(_matches(key, given, signed) for key in self._keys):
            raise VerificationError("no_match")
        events = reading.parse_json(body)
        if not isinstance(events, list):
            reading.malformed("an array is needed")
        return reading.limited([receipt for event in events if (receipt := _receipt(event, now)) is not None])


def _receipt(event: Any, now: datetime) -> ProviderReceipt | None:
    if not isinstance(event, dict):
        reading.malformed("an event is an object")
    kind = _KINDS.get(str(event.get("event")))
    if kind is None:
        return None
    message = event.get("sg_message_id")
    reference = message.partition(".")[0] if isinstance(message, str) else None
    status = reading.text_of(event.get("status"), 20)
    own_id = reading.text_of(event.get("sg_event_id"), 200)
    at = reading.instant_of(event.get("timestamp"), now)
    return reading.receipt_of(
        "sendgrid",
        kind,
        id=own_id or derived_id(message, kind, event.get("email"), event.get("timestamp")),
        at=at,
        reference=reference,
        delivery_id=event.get("delivery_id"),
        address=event.get("email"),
        code=status or event.get("reason") or event.get("type"),
        permanent=_is_permanent(event, kind, status),
    )


def _is_permanent(event: Mapping[str, Any], kind: ReceiptKind, status: str | None) -> bool:
    """Tell whether a bounce says that there is no such mailbox; ``blocked`` says that this message was not wanted."""
    return kind is ReceiptKind.BOUNCED and event.get("type") == "bounce" and reading.is_about_address(status)


def _public_key(text: str) -> EllipticCurvePublicKey:
    try:
        key = load_der_public_key(b64decode(text, validate=True))
    except Exception as error:  # whatever the library says of a text that is none
        raise ConfigurationError(
            "SendGrid's verification key is a public key in base64, as SendGrid shows it"
        ) from error
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ConfigurationError("SendGrid's verification key is one of the curve P-256")
    return key


def _matches(key: EllipticCurvePublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


if TYPE_CHECKING:
    _conforms: type[ReceiptVerifier] = SendGridReceipts
