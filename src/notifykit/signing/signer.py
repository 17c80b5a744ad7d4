"""Sign messages as Standard Webhooks 1.0.0 defines.

The signed content is ``id.timestamp.body``.  All keys sign, so that a receiver that
still holds the old key and one that already holds the new key both accept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from notifykit.errors import InvalidInputError

from .keys import signing_keys

#: Five ``v1a`` entries are 464 bytes: the header stays far below the 1 KiB that every receiver accepts.
MOST_KEYS = 5

_ID = re.compile(r"[A-Za-z0-9_-]+")
_TIMESTAMP_END = 10**12


class Signer:
    """Signs with one key or, during a rotation, with several.

    Safe to share between threads and tasks.  Make one for each endpoint and keep it: parsing a
    key costs more than a signature.

    Args:
        secrets: One or up to five ``whsec_``/``whsk_`` keys, the newest first.

    Raises:
        ConfigurationError: No key, too many keys, or one that cannot sign.
    """

    __slots__ = ("_keys",)

    def __init__(self, secrets: str | Iterable[str]) -> None:
        self._keys = signing_keys(secrets, MOST_KEYS)

    def signature(self, msg_id: bytes, timestamp: bytes, body: bytes) -> bytes:
        """Return the header value for parts that the caller has already checked.

        Nothing is checked here: ``msg_id`` must be free of dots and ``timestamp`` a plain
        decimal number of Unix seconds.
        """
        head = b"%b.%b." % (msg_id, timestamp)
        keys = self._keys
        return keys[0].sign(head, body) if len(keys) == 1 else b" ".join([key.sign(head, body) for key in keys])

    def sign(self, msg_id: str, timestamp: datetime | int, body: bytes) -> str:
        """Return the value of ``webhook-signature``.

        Args:
            msg_id: The id of the message, the same for every retry: letters, digits, ``_`` and ``-``.
            timestamp: When this attempt is made: Unix seconds, or a datetime with a zone.
            body: Exactly the bytes that are sent.

        Raises:
            InvalidInputError: The id or the timestamp cannot be signed.
        """
        if _ID.fullmatch(msg_id) is None:  # a dot would let parts of the id pass for the timestamp
            raise InvalidInputError(["webhook-id: only letters, digits, '_' and '-' can be signed"])
        return self.signature(msg_id.encode("ascii"), b"%d" % _unix_seconds(timestamp), body).decode("ascii")

    def headers(self, msg_id: str, timestamp: datetime | int, body: bytes) -> dict[str, str]:
        """Return the three ``webhook-*`` headers of one attempt; arguments as for :meth:`sign`."""
        signature = self.sign(msg_id, timestamp, body)
        return {
            "webhook-id": msg_id,
            "webhook-timestamp": str(_unix_seconds(timestamp)),
            "webhook-signature": signature,
        }


def _unix_seconds(timestamp: object) -> int:
    if isinstance(timestamp, datetime):
        if timestamp.tzinfo is None:  # guessing a zone would sign another instant
            raise InvalidInputError(["webhook-timestamp: the datetime needs a time zone"])
        timestamp = int(timestamp.timestamp())
    if not isinstance(timestamp, int) or not 0 <= timestamp < _TIMESTAMP_END:
        raise InvalidInputError(["webhook-timestamp: Unix seconds with at most 12 digits are needed"])
    return timestamp
