"""Postmark's webhooks: a JSON object, without a signature.

Postmark sends what its settings say: the user and the password of the URL as HTTP's basic authentication, or a header
of your own.  One of them is required here.  Postmark gives its reports no id.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigurationError
from ...models.receipt import ProviderReceipt, ReceiptKind, derived_id
from ...signing import VerificationError
from ...signing.verifier import ReceivedHeaders
from . import reading

if TYPE_CHECKING:
    from . import ReceiptVerifier

#: The kind of each type of record, the field with its time, and that with the recipient.
_KINDS: Final = {
    "Delivery": (ReceiptKind.DELIVERED, "DeliveredAt", "Recipient"),
    "Bounce": (ReceiptKind.BOUNCED, "BouncedAt", "Email"),
    "SpamComplaint": (ReceiptKind.COMPLAINED, "BouncedAt", "Email"),
    "Open": (ReceiptKind.OPENED, "ReceivedAt", "Recipient"),
    "Click": (ReceiptKind.CLICKED, "ReceivedAt", "Recipient"),
    "SubscriptionChange": (ReceiptKind.UNSUBSCRIBED, "ChangedAt", "Recipient"),
}
#: Types of bounces that say that there is no such mailbox, and those after which Postmark tries again.
_HARD: Final = frozenset({"HardBounce", "BadEmailAddress"})
_DEFERRED: Final = frozenset({"Transient", "DnsError"})
_FAILED: Final = frozenset({"Blocked", "DMARCPolicy", "ManuallyDeactivated", "SMTPApiError"})


class PostmarkReceipts:
    """Verifies Postmark's webhooks.

    Args:
        secrets: ``user:password`` for basic authentication, or ``Header: value`` for a header; or several.

    Raises:
        ConfigurationError: One is neither.
    """

    name = "postmark"

    def __init__(self, secrets: str | Iterable[str]) -> None:
        found = reading.secrets_of(secrets, "what Postmark's webhooks are set up with")
        self._accepted = [_header_of(secret) for secret in found]

    def receipts(self, headers: ReceivedHeaders, body: bytes, url: str, *, now: datetime) -> list[ProviderReceipt]:
        del url
        body = reading.require_body(body)
        found = reading.pick(headers, *{name for name, _ in self._accepted})
        matches = [
            hmac.compare_digest(value.encode(), found.get(name, "").encode("utf-8", "replace"))
            for name, value in self._accepted
        ]
        if not any(matches):
            raise VerificationError("no_match")
        record = reading.parse_json(body)
        if not isinstance(record, dict):
            reading.malformed("an object is needed")
        receipt = _receipt(record, now)
        return [] if receipt is None else [receipt]


def _header_of(secret: str) -> tuple[str, str]:
    name, colon, value = secret.partition(":")
    if not (name and colon and value.strip() and secret.isascii()):
        raise ConfigurationError("Postmark's webhooks are verified by 'user:password', or 'Header-Name: value'")
    if value.startswith(" "):
        return name.lower(), value.strip()
    return "authorization", f"Basic {b64encode(secret.encode()).decode()}"


def _receipt(record: Mapping[str, Any], now: datetime) -> ProviderReceipt | None:
    found = _KINDS.get(str(record.get("RecordType")))
    if found is None or (found[0] is ReceiptKind.UNSUBSCRIBED and not _is_unsubscribed(record)):
        return None
    kind, time, recipient = found
    type_ = str(record.get("Type"))
    if kind is ReceiptKind.BOUNCED:
        kind = ReceiptKind.DEFERRED if type_ in _DEFERRED else ReceiptKind.FAILED if type_ in _FAILED else kind
    reference, address = record.get("MessageID"), record.get(recipient)
    return reading.receipt_of(
        "postmark",
        kind,
        id=derived_id(record["RecordType"], reference, address, record.get(time), record.get("ID")),
        at=reading.instant_of(record.get(time), now),
        reference=reference,
        delivery_id=reading.json_object(record.get("Metadata")).get("delivery_id"),
        address=address,
        code=record.get("Type") or record.get("SuppressionReason"),
        permanent=kind is ReceiptKind.BOUNCED and type_ in _HARD,
    )


def _is_unsubscribed(record: Mapping[str, Any]) -> bool:
    """Tell whether the person has unsubscribed; a bounce or a complaint has a report of its own."""
    return record.get("SuppressSending") is True and record.get("SuppressionReason") == "ManualSuppression"


if TYPE_CHECKING:
    _conforms: type[ReceiptVerifier] = PostmarkReceipts
