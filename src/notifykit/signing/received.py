"""What a receiver hands to its program: the verified message as an event."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NoReturn

import attrs

from .refusals import VerificationError


@attrs.frozen(kw_only=True)
class ReceivedEvent:
    """A webhook that was verified and parsed.

    Attributes:
        id: The ``webhook-id``; the same for every retry of the message.
        type: The event type, such as ``order.shipped``.
        timestamp: When it happened, as the body says; else when this attempt was signed.
        data: The ``data`` member of the body.
        raw: The body exactly as received.
    """

    id: str
    type: str
    timestamp: datetime
    data: Any
    raw: bytes = attrs.field(repr=lambda raw: f"<{len(raw)} bytes>")


def parse_event(msg_id: str, sent_at: int, body: bytes) -> ReceivedEvent:
    """Parse a verified body.

    Raises:
        VerificationError: With the reason ``payload_malformed``.
    """
    try:
        payload = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise VerificationError("payload_malformed", type(error).__name__) from error
    if not isinstance(payload, dict) or not isinstance(payload.get("type"), str):
        raise VerificationError("payload_malformed", "an object with a 'type' is needed")
    return ReceivedEvent(
        id=msg_id,
        type=payload["type"],
        timestamp=_occurred_at(payload.get("timestamp")) or datetime.fromtimestamp(sent_at, UTC),
        data=payload.get("data"),
        raw=body,
    )


def _occurred_at(text: object) -> datetime | None:
    """Return the instant, or ``None`` where ``text`` does not name one: no zone, no instant."""
    if not isinstance(text, str):
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
