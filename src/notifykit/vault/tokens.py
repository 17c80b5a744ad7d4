"""The tokens of links for unsubscribing: signed, so that nothing is stored until one is used.

A token is ``u1.<key id>.<content>.<signature>``, the last two in unpadded base64url.  The signature is an
HMAC-SHA-256, cut to 128 bits, under a key that is derived from a key of the ring for this purpose alone.  New tokens
are signed with the ring's first key; those of older keys stay valid as long as the ring has the key.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..errors import InvalidInputError, InvalidLinkError, MissingKeyError
from ..models.preferences import Purpose
from ..models.unsubscribe import UnsubscribeScope
from .ring import KeyRing, decoded, encoded

#: A longer token is not looked at.
MAX_TOKEN = 4096
_VERSION = "u1"
_PURPOSE = "unsubscribe"
_SIGNATURE_BYTES = 16


class UnsubscribeTokens:
    """Signs and reads tokens.

    Args:
        ring: Returns the keys; called when the first token is signed or read.
    """

    def __init__(self, ring: Callable[[], KeyRing]) -> None:
        self._ring = ring

    def sign(self, scope: UnsubscribeScope) -> str:
        """Return the token of a link that stops ``scope``."""
        ring = self._ring()
        fields = (
            scope.tenant,
            scope.recipient_id,
            int(scope.expires_at.timestamp()),
            scope.purpose and scope.purpose.value,
            scope.channel,
            scope.category,
            scope.type,
            scope.topic,
        )
        last = max(at for at, field in enumerate(fields) if field is not None)
        content = json.dumps(fields[: last + 1], ensure_ascii=False, separators=(",", ":")).encode()
        signed = f"{_VERSION}.{ring.current}.{encoded(content)}"
        return f"{signed}.{encoded(_signature(ring, ring.current, signed))}"

    def read(self, token: str, *, now: datetime) -> UnsubscribeScope:
        """Return what a token stops.

        Raises:
            InvalidLinkError: It was not signed with a key of the ring, was changed, or has expired.
        """
        parts = token.split(".") if len(token) <= MAX_TOKEN and token.isascii() else []
        if len(parts) != 4 or parts[0] != _VERSION:
            raise InvalidLinkError("malformed")
        signature, content = decoded(parts[3]), decoded(parts[2])
        try:
            expected = _signature(self._ring(), parts[1], token.rpartition(".")[0])
        except MissingKeyError:
            raise InvalidLinkError("unknown_key") from None
        if signature is None or content is None or not hmac.compare_digest(expected, signature):
            raise InvalidLinkError("tampered")
        scope = _scope(json.loads(content))
        if scope.expires_at <= now:
            raise InvalidLinkError("expired")
        return scope


def _signature(ring: KeyRing, key_id: str, signed: str) -> bytes:
    return ring.mac(signed.encode(), purpose=_PURPOSE, key_id=key_id)[:_SIGNATURE_BYTES]


def _scope(fields: list[Any]) -> UnsubscribeScope:
    try:
        tenant, recipient_id, expires, purpose, channel, category, type_, topic = fields + [None] * (8 - len(fields))
        return UnsubscribeScope(
            tenant=tenant,
            recipient_id=recipient_id,
            expires_at=datetime.fromtimestamp(expires, UTC),
            purpose=None if purpose is None else Purpose(purpose),
            channel=channel,
            category=category,
            type=type_,
            topic=topic,
        )
    except (
        InvalidInputError,
        ValueError,
        OverflowError,
        OSError,
    ) as error:  # signed by another version, which allows other names
        raise InvalidLinkError("malformed") from error
