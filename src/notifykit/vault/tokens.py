"""The tokens of links for unsubscribing: signed, so that nothing is stored until one is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..errors import InvalidInputError, InvalidLinkError
from ..models.preferences import Purpose
from ..models.unsubscribe import UnsubscribeScope
from .ring import KeyRing
from .signed import Signer


class UnsubscribeTokens:
    """Signs and reads tokens.

    Args:
        ring: Returns the keys; called when the first token is signed or read.
    """

    def __init__(self, ring: Callable[[], KeyRing]) -> None:
        self._signer = Signer(ring, "u1", "unsubscribe")

    def sign(self, scope: UnsubscribeScope) -> str:
        """Return the token of a link that stops ``scope``."""
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
        content = json.dumps(fields[: last + 1], ensure_ascii=False, separators=(",", ":"))
        return self._signer.sign(content.encode())

    def read(self, token: str, *, now: datetime) -> UnsubscribeScope:
        """Return what a token stops.

        Raises:
            InvalidLinkError: It was not signed with a key of the ring, was changed, or has expired.
        """
        scope = _scope(json.loads(self._signer.read(token)))
        if scope.expires_at <= now:
            raise InvalidLinkError("expired")
        return scope


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
