"""Receive Standard Webhooks inside a web framework: verify, run the handler once, answer.

Frameworks differ in how they read a body and write a response; this module has everything else.
If there is no module for your framework, use :class:`Intake` directly::

    opened = intake.open(body, headers)             # an event, or the response that refuses it
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

#: Standard Webhooks advises senders to stay under 20 kB; this limit only bounds memory.
MAX_BODY = 1024 * 1024

#: Reasons for which a message is not authentic; the other reasons mean that it is malformed.
_UNAUTHENTIC = frozenset({"no_match", "timestamp_too_old", "timestamp_too_new"})

_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Answer:
    """The response to the sender.

    Attributes:
        status: The HTTP status; 2xx ends the retries, the others do not.
        reason: A stable code, for the body and the log; empty after success.
        headers: Further response headers.
    """

    status: int
    reason: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)


HANDLED = Answer(status=204)
DUPLICATE = Answer(status=204, reason="duplicate")
# 503 and not 409: every sender retries after a 503, but some treat a 4xx as final.
IN_PROGRESS = Answer(status=503, reason="in_progress", headers={"Retry-After": "10"})
STORE_UNAVAILABLE = Answer(status=503, reason="dedupe_unavailable", headers={"Retry-After": "10"})
# 500 and not 401: the request was correct, and a retry succeeds when the receiving program is fixed.
BODY_UNAVAILABLE = Answer(status=500, reason="body_unavailable")
_BODY_UNAVAILABLE = (
    "the receiver got %d bytes of a body %s, and cannot verify it: a hook or a middleware has read or parsed the "
    "body before (exclude the webhook's path from it, or read the body in a way that keeps it), the server does not "
    "forward bodies without a Content-Length, or the sender closed the connection"
)


class VerifyingReceiver:
    """Verifies requests; the base of receivers with a dedupe store.

    Attributes:
        source: A name for the sender; it separates senders that share a dedupe store.
        max_body: The most bytes of a body that are read.
    """

    def __init__(self, secrets: Verifier | str | Iterable[str], *, source: str, max_body: int) -> None:
        if max_body < 1:
            raise ConfigurationError(f"max_body must be positive, not {max_body}")
        self._verifier = secrets if isinstance(secrets, Verifier) else Verifier(secrets)
        self.source = source
        self.max_body = max_body

    def open(self, body: bytes | None, headers: ReceivedHeaders) -> ReceivedEvent | Answer:
        """Return the event, or the response that refuses it: 400, 401 or 413.

        If no signature matches and the body is shorter than the one that was sent, other code in the receiving
        program has read it.  This is answered with 500 and logged as an error.

        Args:
            body: The body as received; ``None`` if it was not read because it is larger than ``max_body``.
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
        """Return the response to a message that must not be handled now, or ``None``."""
        if seen is Seen.NEW:
            return None
        return DUPLICATE if seen is Seen.DONE else IN_PROGRESS

    def store_failed(self, step: str, event: ReceivedEvent, error: StoreError) -> Answer:
        """Log that the dedupe store failed, and return the response to a message that was not handled."""
        facts = {"step": step, "message_id": event.id, "source": self.source, "error": str(error)}
        _log.error("webhook.dedupe_failed %s", step, extra=facts)
        return STORE_UNAVAILABLE


class Intake(VerifyingReceiver):
    """Verifies requests and accepts each message once.

    Args:
        secrets: The keys, or a :class:`~notifykit.signing.Verifier` with its own tolerance.
        dedupe: Remembers handled messages; ``None`` if the handler may run more than once.
        source: A name for the sender; it separates senders that share a dedupe store.
        max_body: The most bytes of a body that are read.
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
        """Return ``None`` if the caller must handle ``event`` now, else the response."""
        if self._dedupe is None:
            return None
        try:
            return self.turned_away(self._dedupe.begin(self.source, event.id))
        except StoreError as error:
            return self.store_failed("begin", event, error)

    def end(self, event: ReceivedEvent, *, handled: bool) -> None:
        """Record whether the handler succeeded; if not, the sender's next retry runs it again.

        A failure of the store is only logged: the handler has finished, and a response of success
        prevents repeats.
        """
        if self._dedupe is None:
            return
        try:
            (self._dedupe.finish if handled else self._dedupe.forget)(self.source, event.id)
        except StoreError as error:
            self.store_failed("end", event, error)


def _declared_length(headers: ReceivedHeaders) -> int | None:
    """Return the ``Content-Length`` of a request, if it has a valid one."""
    for name, value in header_pairs(headers):
        if name == b"content-length":
            with contextlib.suppress(ValueError):
                return int(value)
    return None


def _is_whole(body: bytes, headers: ReceivedHeaders) -> bool:
    """Return whether ``body`` can be the complete body; an empty chunked body cannot."""
    declared = _declared_length(headers)
    return bool(body) if declared is None else len(body) >= declared


def _status(reason: str) -> int:
    if reason == "body_too_large":
        return 413
    return 401 if reason in _UNAUTHENTIC else 400
