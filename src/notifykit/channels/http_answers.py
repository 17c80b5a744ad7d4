"""What a vendor answered over HTTP, and how it becomes an outcome.

Pure.  A vendor's module has tables of its codes (:class:`Code`); what no table names is judged by the HTTP status.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, assert_never

import attrs

from ..models.outcome import (
    Accepted,
    Answer,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
)
from .webhook.answers import retry_after
from .webhook.transport import Response


class Meaning(StrEnum):
    """What a vendor's answer says about a message.

    Attributes:
        ACCEPTED: The vendor took it.
        THROTTLED: Not now: too many requests.
        TRANSIENT: Not now: a later try may succeed.
        CONFIGURATION: The account, its key or its settings are wrong, so that every message fails: the circuit opens.
        PERMANENT: The vendor will never take this message.
        BAD_RECIPIENT: The address is invalid or gone; it must not be used again.
        UNCERTAIN: The vendor may have taken it.
    """

    ACCEPTED = "accepted"
    THROTTLED = "throttled"
    TRANSIENT = "transient"
    CONFIGURATION = "configuration"
    PERMANENT = "permanent"
    BAD_RECIPIENT = "bad_recipient"
    UNCERTAIN = "uncertain"


class Code(NamedTuple):
    """A vendor's code of an error: what follows from it, and what it says in a few words."""

    meaning: Meaning
    text: str


@attrs.frozen(kw_only=True)
class HttpAnswer:
    """A vendor's answer.

    Attributes:
        headers: Names in lower case.
        body: Cut at a cap.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        """Return the body, if it is a JSON object; otherwise an empty one."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def items(self, total: int) -> list[dict[str, Any]] | None:
        """Return the body, if it is a JSON array of ``total`` objects."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        is_whole = isinstance(found, list) and len(found) == total and all(isinstance(one, dict) for one in found)
        return found if is_whole else None

    def meaning(self) -> Meaning:
        """Return what the status alone says."""
        if 200 <= self.status < 300:
            return Meaning.ACCEPTED
        # An account without credit, or a URL that is wrong: with a redirect, too, as none is followed.
        if self.status in (401, 402, 403, 404, 405) or 300 <= self.status < 400:
            return Meaning.CONFIGURATION
        if self.status == 429:
            return Meaning.THROTTLED
        if self.status in (408, 425) or self.status >= 500:
            return Meaning.TRANSIENT
        return Meaning.PERMANENT

    def outcome(
        self,
        meaning: Meaning | None = None,
        reason: str | None = None,
        *,
        now: datetime,
        reference: str | None = None,
        wait: timedelta | None = None,
    ) -> Outcome:
        """Return the outcome of an attempt with this answer.

        Args:
            meaning: By default what the status says.
            reason: By default ``http_`` and the status.
            reference: The vendor's id of a message that it took.
            wait: The pause before the next attempt, if the vendor's ``Retry-After`` names none.
        """
        meaning = meaning or self.meaning()
        reason = reason or f"http_{self.status}"
        answer = Answer(status=self.status, body=self.body, reference=reference)
        match meaning:
            case Meaning.ACCEPTED:
                return Accepted(answer=answer)
            case Meaning.THROTTLED:
                return Throttled(reason=reason, retry_after=self._pause(now) or wait, answer=answer)
            case Meaning.TRANSIENT:
                return Transient(reason=reason, retry_after=self._pause(now) or wait, answer=answer)
            case Meaning.CONFIGURATION:
                return Transient(reason=reason, circuit=CircuitEffect.OPEN, answer=answer)
            case Meaning.PERMANENT:
                return Permanent(reason=reason, answer=answer)
            case Meaning.BAD_RECIPIENT:
                return BadRecipient(reason=reason, answer=answer)
            case Meaning.UNCERTAIN:
                return Uncertain(reason=reason, answer=answer)
            case _:
                assert_never(meaning)

    def accepted(self, reference: object, *, now: datetime) -> Outcome:
        """Return the outcome of a success whose body names the message; without a name it may be anyone's answer."""
        if isinstance(reference, str) and reference:
            return self.outcome(Meaning.ACCEPTED, now=now, reference=reference)
        return self.outcome(Meaning.UNCERTAIN, "unexpected_answer", now=now)

    def _pause(self, now: datetime) -> timedelta | None:
        value = self.headers.get("retry-after")
        if value is None:
            return None
        return retry_after(Response(self.status, [(b"retry-after", value.encode("latin-1", "replace"))], b""), now)
