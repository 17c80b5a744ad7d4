"""What a receiver's answer means: from a status and ``Retry-After`` to an outcome."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from ...models.outcome import (
    Accepted,
    Answer,
    BadRecipient,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
    Unsent,
)
from .shortage import NO_FILES, NO_MEMORY
from .transport import Response, WireError

#: The longest pause that a receiver can ask for; retry policies clamp further.
LONGEST_PAUSE: Final = timedelta(days=7)

_SECONDS: Final = re.compile(rb"[0-9]{1,18}")
_EMPTY: Final = {status: Accepted(answer=Answer(status=status)) for status in range(200, 300)}


def outcome_of(response: Response, now: datetime) -> Outcome:
    """Turn an answer into an outcome."""
    status = response.status
    if 200 <= status < 300:
        return Accepted(answer=Answer(status=status, body=response.body)) if response.body else _EMPTY[status]
    answer = Answer(status=status, body=response.body)
    reason = f"http_{status}"
    if 300 <= status < 400:
        return Transient(reason="redirect", answer=answer)
    if status == 410:
        return BadRecipient(reason=reason, answer=answer)
    if status == 413:
        return Permanent(reason=reason, answer=answer)
    if status == 429:
        return Throttled(reason=reason, retry_after=retry_after(response, now), answer=answer)
    if status in (408, 425) or 500 <= status < 600:
        return Transient(reason=reason, retry_after=retry_after(response, now), answer=answer)
    return Transient(reason=reason, answer=answer)


def outcome_of_failure(error: WireError) -> Outcome:
    """Turn the lack of an answer into an outcome."""
    if error.own:
        return Unsent(reason=error.reason, pauses=error.reason in (NO_FILES, NO_MEMORY))
    return Uncertain(reason=error.reason) if error.uncertain else Transient(reason=error.reason)


def retry_after(response: Response, now: datetime) -> timedelta | None:
    """Return the pause that the receiver asks for, or ``None`` if it asks for none that makes sense.

    Of several headers the longest pause counts.
    """
    pauses = [
        pause
        for name, value in response.headers
        if name.lower() == b"retry-after" and (pause := _pause(value.strip(), now)) is not None
    ]
    return max(pauses, default=None)


def _pause(value: bytes, now: datetime) -> timedelta | None:
    if _SECONDS.fullmatch(value):
        return min(timedelta(seconds=min(int(value), 10**9)), LONGEST_PAUSE)
    if len(value) > 64:
        return None
    try:
        at = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, OverflowError):
        return None
    pause = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
    return min(pause, LONGEST_PAUSE) if pause > timedelta(0) else None
