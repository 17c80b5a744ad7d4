"""What all vendors' requests have in common: headers, bodies, times, and texts of unknown origin."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from ...errors import ConfigurationError, InvalidInputError
from ...models.checks import MAX_ID, UNPRINTABLE
from ...models.receipt import MAX_ADDRESS, MAX_CODE, MAX_REFERENCE, ProviderReceipt, ReceiptKind, derived_id
from ...signing import VerificationError
from ...signing.verifier import LONGEST_HEADER, MOST_HEADERS, MOST_KEYS, ReceivedHeaders, header_pairs

#: More than any vendor sends at once; SendGrid sends up to 768 kB.
MAX_BODY: Final = 2 * 1024 * 1024
#: Receipts of one request; a larger one is a mistake.
MAX_RECEIPTS: Final = 10_000
#: How old a signed request may be: vendors repeat one for up to a day, and a receipt is stored only once.
TOLERANCE: Final = timedelta(days=1)
#: How far the vendor's clock may be ahead.
_AHEAD: Final = timedelta(minutes=5)
_SECONDS: Final = re.compile(r"[0-9]{1,11}", re.ASCII)


def secrets_of(given: str | Iterable[str], what: str) -> tuple[str, ...]:
    """Return one or several secrets.

    Raises:
        ConfigurationError: There are none, too many, or one is no text.
    """
    found: tuple[Any, ...] = (given,) if isinstance(given, str) else tuple(given)
    if not 1 <= len(found) <= MOST_KEYS or not all(isinstance(each, str) and each.strip() for each in found):
        raise ConfigurationError(f"{what} is needed: a text, or up to {MOST_KEYS} of them while they are rotated")
    return tuple(each.strip() for each in found)


def malformed(detail: str = "") -> NoReturn:
    """Refuse a body that is not what the vendor documents."""
    raise VerificationError("payload_malformed", detail)


def require_body(body: object) -> bytes:
    """Return the body, if it is not too large."""
    if not isinstance(body, bytes):
        raise VerificationError("body_type", f"got {type(body).__name__}")
    if len(body) > MAX_BODY:
        raise VerificationError("body_too_large", f"at most {MAX_BODY} bytes")
    return body


def pick(headers: ReceivedHeaders, *names: str) -> dict[str, str]:
    """Return those of some headers that are there, by their names in lower case."""
    wanted = {name.encode() for name in names}
    found: dict[str, str] = {}
    try:
        for count, (name, value) in enumerate(header_pairs(headers)):
            if count >= MOST_HEADERS:
                raise VerificationError("headers_malformed", f"more than {MOST_HEADERS}")
            if name in wanted:
                if name.decode() in found:
                    raise VerificationError("header_duplicate", name.decode())
                found[name.decode()] = _header(value)
    except VerificationError:
        raise
    except Exception as error:  # a foreign object may raise anything while it is read
        raise VerificationError("headers_malformed", type(error).__name__) from error
    return found


def _header(value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise VerificationError("headers_malformed", f"a value is {type(value).__name__}")
    if len(text) > LONGEST_HEADER:
        raise VerificationError("header_too_long", f"at most {LONGEST_HEADER} characters")
    return text


def required(headers: Mapping[str, str], *names: str) -> tuple[str, ...]:
    """Return headers that must be there."""
    if missing := [name for name in names if name not in headers]:
        raise VerificationError("header_missing", ", ".join(missing))
    return tuple(headers[name] for name in names)


def parse_json(body: bytes) -> Any:
    """Return what a JSON body says."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        malformed("it is not JSON")


def json_object(value: Any) -> Mapping[str, Any]:
    """Return a JSON object, an empty one for whatever else it is."""
    return value if isinstance(value, dict) else {}


def json_list(value: Any) -> list[Any]:
    """Return a JSON array, an empty one for whatever else it is."""
    return value if isinstance(value, list) else []


def base64_bytes(text: str) -> bytes:
    """Return the bytes of a base64 text, of which there is one spelling."""
    try:
        found = b64decode(text, validate=True)
    except (Error, ValueError):
        raise VerificationError("no_match") from None
    if b64encode(found).decode() != text:
        raise VerificationError("no_match")
    return found


# ── times ──────────────────────────────────────────────────────────────────────────────────────


def require_recent(text: str, now: datetime, tolerance: timedelta) -> None:
    """Refuse a time in Unix seconds that is too old, or in the future."""
    if not _SECONDS.fullmatch(text):
        raise VerificationError("timestamp_malformed")
    require_near(datetime.fromtimestamp(int(text), UTC), now, tolerance)


def require_near(at: datetime, now: datetime, tolerance: timedelta) -> None:
    """Refuse a time that is too old, or in the future."""
    if now - at > tolerance:
        raise VerificationError("timestamp_too_old", f"{now - at} old, {tolerance} are tolerated")
    if at - now > _AHEAD:
        raise VerificationError("timestamp_too_new", f"{at - now} ahead")


def instant_of(value: Any, now: datetime) -> datetime:
    """Return an instant in Unix seconds or ISO 8601 in UTC, at the latest now; now if there is none."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, UTC)
        else:
            at = datetime.fromisoformat(value)
            at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return now
    return min(at, now) if at.year >= 1970 else now


# ── values ─────────────────────────────────────────────────────────────────────────────────────


def text_of(value: Any, most: int) -> str | None:
    """Return a text without control characters, cut; ``None`` for an empty one and for what is no text."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value) if abs(value) < 1 << 63 else None
    return (UNPRINTABLE.sub("", value[:most]) or None) if isinstance(value, str) else None


def receipt_of(
    provider: str,
    kind: ReceiptKind,
    *,
    id: str,
    at: datetime,
    reference: Any = None,
    delivery_id: Any = None,
    address: Any = None,
    code: Any = None,
    permanent: bool = False,
) -> ProviderReceipt:
    """Return a receipt of fields that may be anything."""
    try:
        return ProviderReceipt(
            provider=provider,
            id=id if len(id) <= MAX_ID and not UNPRINTABLE.search(id) else derived_id(id),
            kind=kind,
            at=at,
            reference=text_of(reference, MAX_REFERENCE),
            delivery_id=text_of(delivery_id, MAX_ID),
            address=text_of(address, MAX_ADDRESS),
            code=text_of(code, MAX_CODE),
            permanent=permanent,
        )
    except InvalidInputError as error:
        malformed(str(error)[:200])


def limited(receipts: list[ProviderReceipt]) -> list[ProviderReceipt]:
    """Return receipts, if they are not too many."""
    if len(receipts) > MAX_RECEIPTS:
        malformed(f"more than {MAX_RECEIPTS} receipts")
    return receipts


#: Enhanced status codes (RFC 3463) of bounces that say nothing about the address: a mailbox that is full, a message
#: that is too big, a policy, the mail system.
_NOT_THE_ADDRESS: Final = re.compile(r"[^5]|5\.2\.[2-4]|5\.[3-7]\.")


def is_about_address(status: str | None) -> bool:
    """Tell whether the enhanced status code of a bounce can mean that there is no such mailbox."""
    return status is None or not _NOT_THE_ADDRESS.match(status)
