"""Time-ordered, prefixed ids.

An id is a prefix and a ULID in Crockford's base 32: 48 bits of milliseconds,
then 80 random bits.  Ids made by one process never go backwards, so "newest
first" is "largest id first" in every store.

A delivery's id is *derived*: its event's ULID and a hash of its destination.
Planning the same event twice therefore makes the same ids, and the primary key
is the promise "one event × one subscriber × one channel × one address".
"""

from __future__ import annotations

import os
import re
import threading
import time
from hashlib import blake2b

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_BLOCK = 10 * 256
_LOWER = (1 << 40) - 1

EVENT, ENDPOINT, SUBSCRIPTION, DELIVERY = "evt_", "end_", "sub_", "dlv_"
#: Of the subscriptions of recipients: a delivery shows that it is for a person, also when the recipient is gone.
RECIPIENT_SUBSCRIPTION = "subr_"


class _Source:
    """Hands out ULIDs; refills its random bytes in blocks and never repeats a millisecond's order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start_anew()
        self._head = ""
        self._last = 0
        self._upper = -1
        self._middle = ""
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._start_anew()

    def _start_anew(self) -> None:
        # A forked process must not count on from where its parent goes on counting.
        self._pid = os.getpid()
        self._random = b""
        self._at = self._millis = 0

    def next(self) -> str:
        millis = time.time_ns() // 1_000_000
        with self._lock:
            if self._pid != os.getpid():  # some servers fork without telling Python (uWSGI)
                self._start_anew()
            if millis > self._millis:
                self._millis = millis
                self._head = _encode(millis, 50)
                if self._at >= len(self._random):
                    self._random, self._at = os.urandom(_BLOCK), 0
                self._last = int.from_bytes(self._random[self._at : self._at + 10])
                self._at += 10
            else:  # the same millisecond, or a clock that went back: count up from the last id
                self._last += 1 + self._millis % 997
                if self._last >> 80:
                    self._last &= (1 << 79) - 1
                    self._millis += 1
                    self._head = _encode(self._millis, 50)
            last = self._last
            upper = last >> 40
            if upper != self._upper:
                self._upper, self._middle = upper, _encode(upper, 40)
            lower = last & _LOWER  # the only part that is new for most ids: written out, for a loop takes longer
            a, b = _PAIRS[lower >> 30], _PAIRS[lower >> 20 & 1023]
            c, d = _PAIRS[lower >> 10 & 1023], _PAIRS[lower & 1023]
            return f"{self._head}{self._middle}{a}{b}{c}{d}"


def _encode(value: int, bits: int) -> str:
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(bits - 10, -1, -10)])


_source = _Source()


def new_id(prefix: str) -> str:
    """Return a new id that starts with ``prefix`` and sorts after all earlier ones."""
    return prefix + _source.next()


def recipient_key(subscriber: str, channel: str, address: str) -> str:
    """Return the 13 characters that tell one event's deliveries apart (65 bits of a keyless BLAKE2b)."""
    digest = blake2b(f"{subscriber}\0{channel}\0{address}".encode(), digest_size=9).digest()
    return _encode(int.from_bytes(digest) >> 2, 70)[:13]


def delivery_id(event_id: str, key: str) -> str:
    """Return the id of ``event_id``'s delivery to the recipient with ``key``."""
    return DELIVERY + event_id[4:] + key


def is_for_person(subscription_id: str, address: str | None) -> bool:
    """Tell whether a delivery is for a recipient: one that the event names (no subscription), or a subscribed one."""
    return address is not None and (not subscription_id or subscription_id.startswith(RECIPIENT_SUBSCRIPTION))


def event_of(delivery_id: str) -> str:
    """Return the id of the event that the delivery belongs to."""
    return EVENT + delivery_id[4:30]


def is_id(value: str, prefix: str) -> bool:
    """Tell whether ``value`` could be an id with ``prefix`` (of a delivery: its first part)."""
    return value.startswith(prefix) and _ULID.match(value, len(prefix)) is not None
