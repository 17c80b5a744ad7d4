"""Vonage's delivery receipts: of the SMS API with the parameter ``sig``, and of the Messages API with a signed JWT.

The SMS API sends a query, a form or JSON, and repeats the delivery's id as ``client-ref``.  What signs it is a setting
of the account: an HMAC, or in old accounts ``md5hash``, an MD5 over the fields and the secret, which must be asked for.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ...errors import ConfigurationError
from ...models.receipt import ProviderReceipt, ReceiptKind, derived_id
from ...signing import VerificationError
from ...signing.verifier import ReceivedHeaders
from . import reading
from .twilio import form_fields

if TYPE_CHECKING:
    from . import ReceiptVerifier

METHODS: Final = ("sha256", "sha512", "sha1", "md5", "md5hash")
_KINDS: Final = {
    "accepted": ReceiptKind.SENT,
    "submitted": ReceiptKind.SENT,
    "buffered": ReceiptKind.DEFERRED,
    "delivered": ReceiptKind.DELIVERED,
    "expired": ReceiptKind.FAILED,
    "failed": ReceiptKind.FAILED,
    "rejected": ReceiptKind.FAILED,
    "undeliverable": ReceiptKind.FAILED,
    "unknown": ReceiptKind.FAILED,
    "read": ReceiptKind.OPENED,
}
#: Codes that say that the number cannot be reached, ever: it is not assigned any more, or it is none.
_GONE: Final = frozenset({"3", "9"})
#: Names are signed as they are: one could pretend to be several fields.
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_BEARER: Final = re.compile(r"Bearer +([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)


class VonageReceipts:
    """Verifies delivery receipts of Vonage.

    Args:
        secrets: The account's signature secret; or several.
        method: What signs receipts of the SMS API: an HMAC with ``sha256``, ``sha512``, ``sha1`` or ``md5``, or
            ``md5hash``.
        tolerance: How old a receipt may be.

    Raises:
        ConfigurationError: There is no such method.
    """

    name = "vonage"

    def __init__(
        self, secrets: str | Iterable[str], *, method: str = "sha256", tolerance: timedelta = reading.TOLERANCE
    ) -> None:
        if method not in METHODS:
            raise ConfigurationError(f"method is one of {', '.join(METHODS)}, not {method[:20]!r}")
        self._secrets = [secret.encode() for secret in reading.secrets_of(secrets, "Vonage's signature secret")]
        self._method = method
        self._tolerance = tolerance

    def receipts(self, headers: ReceivedHeaders, body: bytes, url: str, *, now: datetime) -> list[ProviderReceipt]:
        body = reading.require_body(body)
        found = reading.pick(headers, "authorization", "content-type")
        if "authorization" in found:
            self._verify_token(found["authorization"], body, now)
            fields = reading.json_object(reading.parse_json(body))
        else:
            given = _fields(body, found.get("content-type", ""), url)
            self._verify_fields(given, now)
            fields = {name: _plain(value) for name, value in given.items()}  # as it is signed
        return _receipts(fields, now)

    def _verify_fields(self, fields: Mapping[str, Any], now: datetime) -> None:
        given, timestamp = fields.get("sig"), fields.get("timestamp")
        if not isinstance(given, str) or not isinstance(timestamp, str | int):
            raise VerificationError("no_match", "the fields sig and timestamp are needed")
        reading.require_recent(str(timestamp), now, self._tolerance)
        if not all(map(_NAME.fullmatch, fields)):
            reading.malformed("a field has no name")
        signed = "".join(f"&{name}={_plain(fields[name])}" for name in sorted(fields) if name != "sig")
        text = signed.encode("utf-8", "surrogatepass")
        wanted = (given.lower() if given == given.upper() else given).encode("utf-8", "surrogatepass")
        matches = [hmac.compare_digest(self._signature(secret, text).encode(), wanted) for secret in self._secrets]
        if not any(matches):
            raise VerificationError("no_match")

    def _signature(self, secret: bytes, text: bytes) -> str:
        if self._method == "md5hash":
            return hashlib.md5(text + secret, usedforsecurity=False).hexdigest()
        return hmac.new(secret, text, self._method).hexdigest()

    def _verify_token(self, header: str, body: bytes, now: datetime) -> None:
        parts = _BEARER.fullmatch(header)
        if parts is None:
            raise VerificationError("no_match", "authorization has no JWT")
        if _part(parts[1]).get("alg") != "HS256":
            raise VerificationError("no_match", "the JWT is not signed with HS256")
        signed, given = f"{parts[1]}.{parts[2]}".encode(), parts[3].encode()
        matches = [
            hmac.compare_digest(urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"="), given)
            for secret in self._secrets
        ]
        if not any(matches):
            raise VerificationError("no_match")
        claims = _part(parts[2])
        reading.require_recent(str(claims.get("iat")), now, self._tolerance)
        if not hmac.compare_digest(hashlib.sha256(body).hexdigest(), _ascii(claims.get("payload_hash"))):
            raise VerificationError("no_match", "the JWT is that of another body")


def _fields(body: bytes, content_type: str, url: str) -> Mapping[str, Any]:
    if not body:
        try:
            return dict(form_fields(urlsplit(url).query))
        except ValueError:
            reading.malformed("the URL is not one")
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return reading.json_object(reading.parse_json(body))
    return dict(form_fields(body.decode("utf-8", "replace")))


def _plain(value: Any) -> str:
    return str(value).replace("&", "_").replace("=", "_")


def _part(text: str) -> Mapping[str, Any]:
    """Return a part of a JWT, an empty one for whatever is none."""
    try:
        return reading.json_object(reading.parse_json(urlsafe_b64decode(text + "=" * (-len(text) % 4))))
    except (Error, ValueError, VerificationError):
        return {}


def _ascii(value: Any) -> str:
    return value if isinstance(value, str) and value.isascii() else ""


def _receipts(fields: Mapping[str, Any], now: datetime) -> list[ProviderReceipt]:
    """Return the receipt of a message; a message that came in, or a status that is not known, is none."""
    reference, status = fields.get("messageId") or fields.get("message_uuid"), fields.get("status")
    kind = _KINDS.get(str(status))
    if kind is None or not isinstance(reference, str):
        return []
    code = reading.text_of(fields.get("err-code") or _error_of(fields), 100)
    is_gone = kind is ReceiptKind.FAILED and code in _GONE
    address = reading.text_of(fields.get("msisdn") or fields.get("to"), 20)
    return [
        reading.receipt_of(
            "vonage",
            ReceiptKind.BOUNCED if is_gone else kind,
            id=derived_id(reference, status, code),
            at=reading.instant_of(_time(fields), now),
            reference=reference,
            delivery_id=fields.get("client-ref") or fields.get("client_ref"),
            address=address and f"+{address.lstrip('+')}",
            code=code,
            permanent=is_gone,
        )
    ]


def _error_of(fields: Mapping[str, Any]) -> Any:
    """Return the code of the Messages API: the title, since that is the number of the error."""
    return reading.json_object(fields.get("error")).get("title")


def _time(fields: Mapping[str, Any]) -> Any:
    return fields.get("message-timestamp") or (fields.get("timestamp") if "message_uuid" in fields else None)


if TYPE_CHECKING:
    _conforms: type[ReceiptVerifier] = VonageReceipts
