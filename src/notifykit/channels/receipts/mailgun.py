"""Mailgun's webhooks: a JSON object, whose ``signature`` is an HMAC-SHA256.

Mailgun signs a timestamp and a random token, and not what the event says: only TLS protects that on its way.  The id
of an event is unique for a day.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ...models.receipt import ProviderReceipt, ReceiptKind, derived_id
from ...signing import VerificationError
from ...signing.verifier import ReceivedHeaders
from . import reading

if TYPE_CHECKING:
    from . import ReceiptVerifier

_KINDS: Final = {
    "accepted": ReceiptKind.SENT,
    "delivered": ReceiptKind.DELIVERED,
    "failed": ReceiptKind.FAILED,
    "rejected": ReceiptKind.FAILED,
    "opened": ReceiptKind.OPENED,
    "clicked": ReceiptKind.CLICKED,
    "unsubscribed": ReceiptKind.UNSUBSCRIBED,
    "complained": ReceiptKind.COMPLAINED,
}
#: Reasons of a permanent failure that mean a bounce, now or earlier.
_BOUNCES: Final = frozenset({"bounce", "suppress-bounce"})
#: Codes of SMTP that say that there is no such mailbox, and Mailgun's own for one that bounced before.
_NO_MAILBOX: Final = frozenset({"550", "551", "553", "605"})


class MailgunReceipts:
    """Verifies Mailgun's webhooks.

    Args:
        keys: The account's HTTP webhook signing key; or several.
        tolerance: How old a request may be.
    """

    name = "mailgun"

    def __init__(self, keys: str | Iterable[str], *, tolerance: timedelta = reading.TOLERANCE) -> None:
        self._keys = [key.encode() for key in reading.secrets_of(keys, "Mailgun's webhook signing key")]
        self._tolerance = tolerance

    def receipts(self, headers: ReceivedHeaders, body: bytes, url: str, *, now: datetime) -> list[ProviderReceipt]:
        del headers, url
        content = reading.json_object(reading.parse_json(reading.require_body(body)))
        self._verify(reading.json_object(content.get("signature")), now)
        event = reading.json_object(content.get("event-data"))
        kind = _KINDS.get(str(event.get("event")))
        return [] if kind is None else [_receipt(event, kind, now)]

    def _verify(self, signature: Mapping[str, Any], now: datetime) -> None:
        timestamp, token, given = (signature.get(name) for name in ("timestamp", "token", "signature"))
        if isinstance(timestamp, int):
            timestamp = str(timestamp)
        if not (isinstance(timestamp, str) and isinstance(token, str) and isinstance(given, str)):
            reading.malformed("signature has timestamp, token and signature")
        reading.require_recent(timestamp, now, self._tolerance)
        signed = (timestamp + token).encode("utf-8", "surrogatepass")
        wanted = given.encode("utf-8", "surrogatepass")
        matches = [
            hmac.compare_digest(hmac.new(key, signed, "sha256").hexdigest().encode(), wanted) for key in self._keys
        ]
        if not any(matches):
            raise VerificationError("no_match")


def _receipt(event: Mapping[str, Any], kind: ReceiptKind, now: datetime) -> ProviderReceipt:
    at = reading.instant_of(event.get("timestamp"), now)
    status = reading.json_object(event.get("delivery-status"))
    enhanced = reading.text_of(status.get("enhanced-code"), 20)
    code = enhanced or reading.text_of(status.get("code"), 20) or reading.text_of(event.get("reason"), 100)
    permanent = False
    if event.get("event") == "failed":
        kind, permanent = _failure(event, status, enhanced)
    headers = reading.json_object(reading.json_object(event.get("message")).get("headers"))
    message = reading.text_of(headers.get("message-id"), 500)
    own_id = reading.text_of(event.get("id"), 200)
    return reading.receipt_of(
        "mailgun",
        kind,
        id=f"{own_id}:{at:%Y%m%d}" if own_id else derived_id(message, kind, event.get("recipient"), at),
        at=at,
        reference=message and message.strip("<>"),
        delivery_id=reading.json_object(event.get("user-variables")).get("delivery_id"),
        address=event.get("recipient"),
        code=code,
        permanent=permanent,
    )


def _failure(event: Mapping[str, Any], status: Mapping[str, Any], enhanced: str | None) -> tuple[ReceiptKind, bool]:
    if event.get("severity") != "permanent":
        return ReceiptKind.DEFERRED, False
    if str(event.get("reason")) not in _BOUNCES:
        return ReceiptKind.FAILED, False
    is_gone = str(status.get("code")) in _NO_MAILBOX and reading.is_about_address(enhanced)
    return ReceiptKind.BOUNCED, is_gone


if TYPE_CHECKING:
    _conforms: type[ReceiptVerifier] = MailgunReceipts
