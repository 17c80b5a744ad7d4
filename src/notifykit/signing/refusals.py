"""Why a received webhook is refused."""

from __future__ import annotations

from typing import Any

from notifykit.errors import NotifykitError

_REASONS = {
    "body_type": "the body must be the bytes as received",
    "body_too_large": "the body is larger than this receiver takes",
    "headers_malformed": "the headers are not pairs of text",
    "header_missing": "a webhook header is missing",
    "header_duplicate": "a webhook header is there more than once",
    "header_too_long": "a webhook header is too long",
    "id_malformed": "webhook-id has characters that are not allowed",
    "timestamp_malformed": "the timestamp is not a plain number of seconds",
    "timestamp_too_old": "the message is too old",
    "timestamp_too_new": "the message comes from the future; check the clocks",
    "too_many_signatures": "webhook-signature has too many entries",
    "no_match": "no signature matches a configured key",
    "payload_malformed": "the body is not what the sender documents",
    "topic_unknown": "the topic of SNS is not one of the allowed ones",
    "certificate_refused": "the certificate of SNS cannot be trusted",
    "confirmation_failed": "the subscription to the topic of SNS could not be confirmed",
}


class VerificationError(NotifykitError):
    """A received webhook is not authentic, or not well formed.

    Attributes:
        reason: A stable code: ``body_type``, ``body_too_large``, ``headers_malformed``,
            ``header_missing``, ``header_duplicate``, ``header_too_long``, ``id_malformed``,
            ``timestamp_malformed``, ``timestamp_too_old``, ``timestamp_too_new``,
            ``too_many_signatures``, ``no_match`` or ``payload_malformed``; of receipts of Amazon SES also
            ``topic_unknown``, ``certificate_refused`` or ``confirmation_failed``.
        detail: Facts for the log, never content of the message; may be empty.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"webhook refused ({reason}): {_REASONS[reason]}" + (f"; {detail}" if detail else ""))
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.detail)
