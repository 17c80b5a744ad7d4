"""Verify received webhooks as Standard Webhooks 1.0.0 defines.

Cheap and strict checks come first, the MAC over the exact bytes last.  Whatever arrives,
the only exception is :class:`VerificationError`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from notifykit.errors import ConfigurationError

from .keys import verifying_keys
from .refusals import VerificationError

if TYPE_CHECKING:
    from .received import ReceivedEvent


class HasItems(Protocol):
    """A mapping of headers, or what looks like one (``email.message.Message``)."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return the headers as pairs."""
        ...


#: What web frameworks call headers: a mapping, or the pairs as they came (ASGI: bytes).
ReceivedHeaders: TypeAlias = HasItems | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]

#: More keys than any rotation needs; each costs a MAC per message.
MOST_KEYS = 16

#: More entries than a sender makes; each costs an Ed25519 verification for a public key.
MOST_SIGNATURES = 16

LONGEST_HEADER = 4096
MOST_HEADERS = 1000

_ID, _TIMESTAMP, _SIGNATURE = b"webhook-id", b"webhook-timestamp", b"webhook-signature"
_ID_FORM = re.compile(rb"[A-Za-z0-9_-]+")
_TIMESTAMP_FORM = re.compile(rb"0|[1-9][0-9]{0,11}")


class Verifier:
    """Checks that a received webhook was signed with one of the keys.

    Safe to share between threads and tasks.  It keeps no history: a message that is
    replayed within the tolerance verifies again, which is what a
    :class:`~notifykit.signing.DedupeStore` is for.

    Args:
        secrets: One or several ``whsec_`` secrets or ``whpk_`` public keys; all are tried.
        tolerance: How far the timestamp may be from now, in both directions.
        clock: Returns now in Unix seconds.

    Raises:
        ConfigurationError: No key, one that cannot verify, or a tolerance that is negative or no duration.
    """

    __slots__ = ("_clock", "_keys", "_tolerance")

    def __init__(
        self,
        secrets: str | Iterable[str],
        *,
        tolerance: timedelta = timedelta(minutes=5),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = verifying_keys(secrets, MOST_KEYS)
        self._tolerance = _seconds(tolerance)
        self._clock = clock

    def verify(self, body: bytes, headers: ReceivedHeaders) -> bytes:
        """Return ``body`` if it is authentic.

        Args:
            body: The request body exactly as received, before any parsing.
            headers: The request headers, a mapping or pairs; names in any case, text or bytes.

        Raises:
            VerificationError: It is not authentic, or the input is malformed.
        """
        self._authentic(body, headers)
        return body

    def open(self, body: bytes, headers: ReceivedHeaders) -> ReceivedEvent:
        """Verify like :meth:`verify`, then parse the body as an event.

        Raises:
            VerificationError: It is not authentic, or authentic but not a JSON object with a
                ``type`` (``payload_malformed``; use :meth:`verify` for other bodies).
        """
        from .received import parse_event

        msg_id, sent_at = self._authentic(body, headers)
        return parse_event(msg_id, sent_at, body)

    def _authentic(self, body: bytes, headers: ReceivedHeaders) -> tuple[str, int]:
        if not isinstance(body, bytes):
            raise VerificationError("body_type", f"got {type(body).__name__}")
        msg_id, timestamp, signatures = _webhook_headers(headers)
        if _ID_FORM.fullmatch(msg_id) is None:
            raise VerificationError("id_malformed")
        sent_at = self._timely(timestamp)
        entries = [entry for entry in signatures.split(b" ") if entry]
        if len(entries) > MOST_SIGNATURES:
            raise VerificationError("too_many_signatures", f"at most {MOST_SIGNATURES}")
        head = b"%b.%b." % (msg_id, timestamp)
        matched = False
        for key in self._keys:  # no early exit: the time taken must not reveal which key matched
            matched |= key.matches(head, body, entries)
        if not matched:
            raise VerificationError("no_match")
        return msg_id.decode("ascii"), sent_at

    def _timely(self, timestamp: bytes) -> int:
        if _TIMESTAMP_FORM.fullmatch(timestamp) is None:
            raise VerificationError("timestamp_malformed")
        sent_at = int(timestamp)
        age = self._clock() - sent_at
        if age > self._tolerance:
            raise VerificationError("timestamp_too_old", f"{age:.0f} s old, {self._tolerance:.0f} s are tolerated")
        if age < -self._tolerance:
            raise VerificationError("timestamp_too_new", f"{-age:.0f} s ahead, {self._tolerance:.0f} s are tolerated")
        return sent_at


def _seconds(tolerance: object) -> float:
    if not isinstance(tolerance, timedelta) or tolerance < timedelta(0):
        shown = tolerance if isinstance(tolerance, timedelta) else type(tolerance).__name__
        raise ConfigurationError(f"the tolerance must be a timedelta that is not negative, not {shown}")
    return tolerance.total_seconds()


def _webhook_headers(headers: Any) -> tuple[bytes, bytes, bytes]:
    """Pick id, timestamp and signatures out of whatever was given."""
    found: dict[bytes, bytes] = {}
    try:
        for count, (key, value) in enumerate(header_pairs(headers)):
            if count >= MOST_HEADERS:
                raise VerificationError("headers_malformed", f"more than {MOST_HEADERS}")
            if key in (_ID, _TIMESTAMP, _SIGNATURE):
                if key in found:
                    raise VerificationError("header_duplicate", key.decode())
                found[key] = _value(key, value)
    except VerificationError:
        raise
    except Exception as error:  # a foreign object may raise anything while it is read
        raise VerificationError("headers_malformed", type(error).__name__) from error
    missing = [name.decode() for name in (_ID, _TIMESTAMP, _SIGNATURE) if name not in found]
    if missing:
        raise VerificationError("header_missing", ", ".join(missing))
    return found[_ID], found[_TIMESTAMP], found[_SIGNATURE]


def header_pairs(headers: Any) -> Iterator[tuple[bytes, Any]]:
    """Yield the headers of whatever was given, with names in lower case."""
    items = getattr(headers, "items", None)
    for name, value in items() if callable(items) else headers:
        yield _ascii(name).lower(), value


def _value(name: bytes, value: object) -> bytes:
    if not isinstance(value, str | bytes):
        raise VerificationError("headers_malformed", f"{name.decode()} is {type(value).__name__}")
    raw = _ascii(value)
    if len(raw) > LONGEST_HEADER:
        raise VerificationError("header_too_long", f"{name.decode()}, at most {LONGEST_HEADER} bytes")
    return raw


def _ascii(text: object) -> bytes:
    """Return ASCII bytes; other characters become ``?``, which no part of the grammar knows.

    Case folding happens on bytes afterwards, so no letter of another alphabet folds into a header name.
    """
    if isinstance(text, str):
        return str.encode(text, "ascii", "replace")
    return bytes(text) if isinstance(text, bytes) else b""
