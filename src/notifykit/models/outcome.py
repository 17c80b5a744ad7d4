"""What the outside world answered to one attempt, or that it was not asked: values, not exceptions."""

from __future__ import annotations

from datetime import timedelta

import attrs

from .checks import UNPRINTABLE, instance, kind_of, optional, string, whole


@attrs.frozen(kw_only=True)
class Answer:
    """What is kept of a receiver's answer.

    Attributes:
        status: The HTTP status (or the provider's code), if one was received.
        body: The first bytes of the response body, capped by the channel.
        reference: The provider's id of the message, where there is one.
    """

    status: int | None = None
    body: bytes = b""
    reference: str | None = None


NO_ANSWER = Answer()


@attrs.frozen(kw_only=True)
class Accepted:
    """The receiver took the message."""

    answer: Answer = NO_ANSWER


@attrs.frozen(kw_only=True)
class Transient:
    """The receiver could not take the message now; a later try may succeed.

    Attributes:
        reason: A stable code: ``http_503``, ``timeout``, ``connect_failed``, ``dns_failure`` …
        retry_after: The pause the receiver asked for.
    """

    reason: str
    retry_after: timedelta | None = None
    answer: Answer = NO_ANSWER


@attrs.frozen(kw_only=True)
class Throttled:
    """The receiver asked us to slow down (429)."""

    reason: str
    retry_after: timedelta | None = None
    answer: Answer = NO_ANSWER


@attrs.frozen(kw_only=True)
class Permanent:
    """No later try of the same bytes can succeed (413, blocked destination)."""

    reason: str
    answer: Answer = NO_ANSWER


@attrs.frozen(kw_only=True)
class BadRecipient:
    """The address is gone for good (410); it must not be used again."""

    reason: str
    answer: Answer = NO_ANSWER


@attrs.frozen(kw_only=True)
class Uncertain:
    """The message may have been accepted: the answer was lost after the send."""

    reason: str
    answer: Answer = NO_ANSWER


@attrs.frozen(kw_only=True)
class Unsent:
    """Nothing was sent because this process lacked what it takes: it says nothing about the receiver.

    No attempt is counted or recorded; the delivery is due again after a pause.

    Attributes:
        reason: A stable code: ``no_files``, ``no_memory``, ``no_ports``, ``connection_limit`` or ``lookup_limit``.
        pauses: Whether every other attempt would lack it as well, so that the process pauses sending.
    """

    reason: str
    pauses: bool = False
    answer: Answer = NO_ANSWER


Outcome = Accepted | Transient | Throttled | Permanent | BadRecipient | Uncertain | Unsent

_KINDS = (Accepted, Transient, Throttled, Permanent, BadRecipient, Uncertain, Unsent)
#: The longest reason that is kept.
_LONGEST_REASON = 200
_status = optional(whole(0, 2**31 - 1))
_pause = optional(instance(timedelta))


def outcome_problem(outcome: object) -> str | None:
    """Say why a channel's outcome cannot be recorded, or ``None`` if it can.

    Channels may be anyone's; what no store can keep would be lost, and the message sent again and again.
    """
    if not isinstance(outcome, _KINDS):
        return f"an Outcome is needed, not {kind_of(outcome)}"
    answer: object = outcome.answer
    if not isinstance(answer, Answer):
        return f"answer: must be an Answer, not {kind_of(answer)}"
    if type(answer.body) is not bytes:
        return f"answer.body: must be bytes, not {kind_of(answer.body)}"
    if wrong := _status(answer.status):
        return f"answer.status: {wrong}"
    if isinstance(outcome, Accepted):
        return None
    if wrong := string(outcome.reason):
        return f"reason: {wrong}"
    wrong = _pause(outcome.retry_after) if isinstance(outcome, Transient | Throttled) else None
    return wrong and f"retry_after: {wrong}"


def recordable(outcome: Outcome) -> Outcome:
    """Return an outcome with a reason that every store can keep: what a provider said may be anything."""
    if isinstance(outcome, Accepted):
        return outcome
    reason = outcome.reason
    if len(reason) <= _LONGEST_REASON and not UNPRINTABLE.search(reason):
        return outcome
    escaped = UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), reason[:_LONGEST_REASON])
    return attrs.evolve(outcome, reason=escaped[:_LONGEST_REASON])
