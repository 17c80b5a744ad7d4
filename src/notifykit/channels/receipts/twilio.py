"""Twilio's status callbacks: a form, whose signature is an HMAC over the public URL and the fields.

It is an HMAC-SHA1 with the account's token, or an HMAC-SHA256 with a shared key, as a header says.  Names and values
are signed without anything between them, so ``ab=c`` and ``a=bc`` have the same signature: a form is refused in which
a field that is read could be part of another, or another part of it.

A callback says neither when something happened nor which of our messages it is about, unless the URL that was given
with the message does: ``?delivery_id=…`` (option ``callback=`` of ``twilio://``).
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, parse_qsl, urlsplit, urlunsplit

from ...models.receipt import ProviderReceipt, ReceiptKind
from ...signing import VerificationError
from ...signing.verifier import ReceivedHeaders
from . import reading

if TYPE_CHECKING:
    from . import ReceiptVerifier

_SIGNATURE, _SETTINGS = "x-twilio-signature", "x-twilio-webhooks-signature-settings"
_ALGORITHM: Final = re.compile(r"(?:^|,) *algorithm *= *(\w+)")
_HASHES: Final = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_KINDS: Final = {
    "sent": ReceiptKind.SENT,
    "delivered": ReceiptKind.DELIVERED,
    "undelivered": ReceiptKind.FAILED,
    "failed": ReceiptKind.FAILED,
    "read": ReceiptKind.OPENED,
}
#: Codes that say that the number cannot be reached, ever: it is unknown, a landline, or no number.
_GONE: Final = frozenset({"21211", "21614", "21635", "30005", "30006"})
#: The recipient has answered STOP.
_STOPPED: Final = "21610"
#: The fields that are read, or that stand beside the URL, and what is in them.
_READ: Final = {
    "AccountSid": re.compile(r"[A-Z]{2}[0-9a-f]{32}"),
    "MessageSid": re.compile(r"[A-Z]{2}[0-9a-f]{32}"),
    "MessageStatus": re.compile(r"[a-z_]+"),
    "ErrorCode": re.compile(r"[0-9]*", re.ASCII),
}
_NAME: Final = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_PORTS: Final = {"https": 443, "http": 80}
_MOST_FIELDS: Final = 200


class TwilioReceipts:
    """Verifies status callbacks of messages.

    Args:
        tokens: The account's auth token, or the secret of a shared key; or several.
    """

    name = "twilio"

    def __init__(self, tokens: str | Iterable[str]) -> None:
        self._tokens = [token.encode() for token in reading.secrets_of(tokens, "Twilio's auth token")]

    def receipts(self, headers: ReceivedHeaders, body: bytes, url: str, *, now: datetime) -> list[ProviderReceipt]:
        fields = form_fields(reading.require_body(body).decode("utf-8", "replace"))
        found = reading.pick(headers, _SIGNATURE, _SETTINGS)
        (given,) = reading.required(found, _SIGNATURE)
        named = _ALGORITHM.search(found.get(_SETTINGS, ""))
        hash_ = _HASHES.get(named[1] if named else "HMAC_SHA1")
        if hash_ is None:
            raise VerificationError("no_match", "the algorithm is not known")
        signed = [text.encode("utf-8", "surrogatepass") + _joined(fields) for text in _spellings(url)]
        wanted = given.encode("utf-8", "surrogatepass")
        matches = [
            hmac.compare_digest(b64encode(hmac.digest(token, text, hash_)), wanted)
            for token in self._tokens
            for text in signed
        ]
        if not any(matches):
            raise VerificationError("no_match")
        receipt = _receipt(dict(fields), url, now)
        return [] if receipt is None else [receipt]


def form_fields(text: str) -> list[tuple[str, str]]:
    """Return the fields of a form, or of a query."""
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        reading.malformed("it is not a form")


def _joined(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return names and values in the order of names; a pair that is there twice counts once."""
    return "".join(name + value for name, value in sorted(set(fields))).encode("utf-8", "surrogatepass")


def _spellings(url: str) -> Iterator[str]:
    """Yield the URL with and without its port: Twilio signs one of them, depending on the scheme and the account."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise VerificationError("no_match", "the URL is not one") from None
    yield url
    if port is not None:
        yield urlunsplit(parts._replace(netloc=parts.netloc.rpartition(":")[0]))
    elif parts.scheme in _PORTS:
        yield urlunsplit(parts._replace(netloc=f"{parts.netloc}:{_PORTS[parts.scheme]}"))


def _require_clear(fields: Mapping[str, str]) -> None:
    """Refuse a form in which something else may have been signed than what is read."""
    if not all(map(_NAME.fullmatch, fields)):
        reading.malformed("a field has no name")
    for name, form in _READ.items():
        if not form.fullmatch(fields.get(name, "")):
            reading.malformed(f"{name} is not what Twilio sends")
        if any(name != other and (other.startswith(name) or name.startswith(other)) for other in fields):
            reading.malformed(f"a field looks like {name}")


def _receipt(fields: Mapping[str, str], url: str, now: datetime) -> ProviderReceipt | None:
    _require_clear(fields)
    sid, status = fields["MessageSid"], fields["MessageStatus"]
    kind = _KINDS.get(status)
    if kind is None:
        return None
    code = fields.get("ErrorCode") or None
    if kind is ReceiptKind.FAILED and code == _STOPPED:
        kind = ReceiptKind.UNSUBSCRIBED
    is_gone = kind is ReceiptKind.FAILED and code in _GONE
    return reading.receipt_of(
        "twilio",
        ReceiptKind.BOUNCED if is_gone else kind,
        id=f"{sid}:{status}",
        at=now,
        reference=sid,
        delivery_id=next(iter(parse_qs(urlsplit(url).query).get("delivery_id", ())), None),
        address=fields.get("To"),
        code=code,
        permanent=is_gone,
    )


if TYPE_CHECKING:
    _conforms: type[ReceiptVerifier] = TwilioReceipts
