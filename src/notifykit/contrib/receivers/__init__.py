"""Receive Standard Webhooks inside a web framework: verify, run the handler once, answer.

Frameworks differ in how a body is read and an answer is written; the rest is here.
:class:`Intake` can also be driven by hand where there is no module for a framework::

    opened = intake.open(body, headers)             # an event, or the answer that refuses it
    refused = opened if isinstance(opened, Answer) else intake.begin(opened)
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping

import attrs

from notifykit.errors import ConfigurationError, StoreError
from notifykit.signing import DedupeStore, ReceivedEvent, Seen, VerificationError, Verifier
from notifykit.signing.verifier import ReceivedHeaders, header_pairs

__all__ = ["MAX_BODY", "Answer", "Intake", "ReceivedEvent"]

#: Standard Webhooks advises senders to stay under 20 kB; the cap only has to bound memory.
MAX_BODY = 1024 * 1024

#: Codes that speak of authenticity; the others speak of form.
_UNAUTHENTIC = frozenset({"no_match", "timestamp_too_old", "timestamp_too_new"})

_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Answer:
    """What to tell the sender.

    Attributes:
        status: The HTTP status; 2xx ends the retries, the others do not.
        reason: A stable code, for the body and the log; empty when there is nothing to say.
        headers: Further response headers.
    """

    status: int
    reason: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)


HANDLED = Answer(status=204)
DUPLICATE = Answer(status=204, reason="duplicate")
# 503 and not 409: every sender takes it as "again later", some take a 4xx as final.
IN_PROGRESS = Answer(status=503, reason="in_progress", headers={"Retry-After": "10"})
STORE_UNAVAILABLE = Answer(status=503, reason="dedupe_unavailable", headers={"Retry-After": "10"})
# 500 and not 401: the sender did nothing wrong, and its retry succeeds once the receiving program is mended.
BODY_UNAVAILABLE = Answer(status=500, reason="body_unavailable")
_BODY_UNAVAILABLE = (
    "the receiver got %d bytes of a body %s, and cannot verify it: a hook or a middleware has read or parsed the "
    "body before (let it leave the webhook's path alone, or read it in a way that keeps it), the server does not "
    "pass on bodies without a Content-Length, or the sender hung up"
)


class Door:
    """Verifies what comes in; knows no dedupe store.

    Attributes:
        source: Names the sender; parts senders that share a dedupe store.
        max_body: How many bytes of body are read at the most.
    """

    def __init__(self, secrets: Verifier | str | Iterable[str], *, source: str, max_body: int) -> None:
        if max_body < 1:
            raise ConfigurationError(f"max_body must be positive, not {max_body}")
        self._verifier = secrets if isinstance(secrets, Verifier) else Verifier(secrets)
        self.source = source
        self.max_body = max_body

    def open(self, body: bytes | None, headers: ReceivedHeaders) -> ReceivedEvent | Answer:
        """Return the event, or the answer that refuses it: 400, 401 or 413.

        A body that fits no signature and is shorter than what was sent says nothing about the sender:
        something in the receiving program took it away, which is answered with 500 and logged as an error.

        Args:
            body: The body as received; ``None`` if it was larger than ``max_body`` and not read.
            headers: The request headers.
        """
        try:
            if body is None or len(body) > self.max_body:
                raise VerificationError("body_too_large", f"at most {self.max_body} bytes")
            return self._verifier.open(body, headers)
        except VerificationError as error:
            if error.reason == "no_match" and body is not None and not _is_whole(body, headers):
                return self._body_unavailable(body, headers)
            facts = {"reason": error.reason, "detail": error.detail, "source": self.source}
            _log.warning("webhook.refused %s", error.reason, extra=facts)
            return Answer(status=_status(error.reason), reason=error.reason)

    def _body_unavailable(self, body: bytes, headers: ReceivedHeaders) -> Answer:
        declared = _declared_length(headers)
        sent = "without a Content-Length" if declared is None else f"of {declared} bytes"
        facts = {"reason": BODY_UNAVAILABLE.reason, "source": self.source}
        _log.error("webhook.body_unavailable " + _BODY_UNAVAILABLE, len(body), sent, extra=facts)
        return BODY_UNAVAILABLE

    def turned_away(self, seen: Seen) -> Answer | None:
        """Return the answer to a message that must not be handled now, or ``None``."""
        if seen is Seen.NEW:
            return None
        return DUPLICATE if seen is Seen.DONE else IN_PROGRESS

    def store_failed(self, step: str, event: ReceivedEvent, error: StoreError) -> Answer:
        """Log that the dedupe store failed and return the answer for who has not begun yet."""
        facts = {"step": step, "message_id": event.id, "source": self.source, "error": str(error)}
        _log.error("webhook.dedupe_failed %s", step, extra=facts)
        return STORE_UNAVAILABLE


class Intake(Door):
    """Verifies what comes in and lets each message through once.

    Args:
        secrets: The keys, or a :class:`~notifykit.signing.Verifier` with a tolerance of its own.
        dedupe: Remembers what was handled; ``None`` if the handler may run more than once.
        source: Names the sender; parts senders that share a dedupe store.
        max_body: How many bytes of body are read at the most.
    """

    def __init__(
        self,
        secrets: Verifier | str | Iterable[str],
        *,
        dedupe: DedupeStore | None,
        source: str = "",
        max_body: int = MAX_BODY,
    ) -> None:
        super().__init__(secrets, source=source, max_body=max_body)
        self._dedupe = dedupe

    def begin(self, event: ReceivedEvent) -> Answer | None:
        """Return ``None`` if the caller must handle ``event`` now, else the answer to give."""
        if self._dedupe is None:
            return None
        try:
            return self.turned_away(self._dedupe.begin(self.source, event.id))
        except StoreError as error:
            return self.store_failed("begin", event, error)

    def end(self, event: ReceivedEvent, *, handled: bool) -> None:
        """Say whether the handler succeeded; if not, the sender's next retry runs it again.

        A store that fails here is logged and no more: the handler did its work, and the answer
        that says so is what keeps the sender from repeating.
        """
        if self._dedupe is None:
            return
        try:
            (self._dedupe.finish if handled else self._dedupe.forget)(self.source, event.id)
        except StoreError as error:
            self.store_failed("end", event, error)


def _declared_length(headers: ReceivedHeaders) -> int | None:
    """Return the ``Content-Length`` of a request, if it has one that can be read."""
    for name, value in header_pairs(headers):
        if name == b"content-length":
            with contextlib.suppress(ValueError):
                return int(value)
    return None


def _is_whole(body: bytes, headers: ReceivedHeaders) -> bool:
    """Tell whether ``body`` can be what the sender signed; a chunked body that is empty cannot."""
    declared = _declared_length(headers)
    return bool(body) if declared is None else len(body) >= declared


def _status(reason: str) -> int:
    if reason == "body_too_large":
        return 413
    return 401 if reason in _UNAUTHENTIC else 400
