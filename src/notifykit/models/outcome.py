"""Outcomes of one attempt, as values: what was answered, or that nothing was sent."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

import attrs

from .checks import UNPRINTABLE, instance, kind_of, optional, string, whole
from .routing import cost


class CircuitEffect(StrEnum):
    """What a failure says about other attempts that share the circuit.

    Attributes:
        COUNT: It is one failure; many of them open the circuit.
        OPEN: Every attempt fails until an operator corrects the configuration, such as a password.
        NONE: It concerns this address alone, such as a full mailbox behind a mail server.
    """

    COUNT = "count"
    OPEN = "open"
    NONE = "none"


@attrs.frozen(kw_only=True)
class Answer:
    """What is kept of an answer.

    Attributes:
        status: The HTTP status or the provider's numeric code, if one was received.
        body: The first bytes of the response body, capped by the channel.
        reference: The provider's id of the message, where there is one.
        cost: What the message costs, as far as the operator's table says that.
    """

    status: int | None = None
    body: bytes = b""
    reference: str | None = None
    cost: Decimal | None = None


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
        circuit: What it says about other attempts that share the circuit.
    """

    reason: str
    retry_after: timedelta | None = None
    circuit: CircuitEffect = CircuitEffect.COUNT
    answer: Answer = NO_ANSWER


@attrs.frozen(kw_only=True)
class Throttled:
    """The receiver asked us to slow down (429).

    Attributes:
        circuit: What it says about other attempts that share the circuit.
    """

    reason: str
    retry_after: timedelta | None = None
    circuit: CircuitEffect = CircuitEffect.COUNT
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
        reason: A stable code: ``no_files``, ``no_memory``, ``no_ports``, ``connection_limit``, ``lookup_limit`` or
            ``template_failed``.
        pauses: Whether every other attempt would lack it as well, so that the process pauses sending.
        hold: For how long the delivery is held, if an operator has to do something first; otherwise it is due again
            within seconds.
    """

    reason: str
    pauses: bool = False
    hold: timedelta | None = None
    answer: Answer = NO_ANSWER


Outcome = Accepted | Transient | Throttled | Permanent | BadRecipient | Uncertain | Unsent

_KINDS = (Accepted, Transient, Throttled, Permanent, BadRecipient, Uncertain, Unsent)
#: The longest reason that is kept.
_LONGEST_REASON = 200
_status = optional(whole(0, 2**31 - 1))
#: The longest reference that is kept.
_LONGEST_REFERENCE = 512
_pause = optional(instance(timedelta))


def outcome_problem(outcome: object) -> str | None:
    """Say why a channel's outcome cannot be recorded, or ``None`` if it can.

    Channels may come from other packages; what no store can keep would be lost, and the message sent again and again.
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
    # Most have neither, and this is done for each attempt.
    if answer.reference is not None and (wrong := string(answer.reference)):
        return f"answer.reference: {wrong}"
    if answer.cost is not None and (wrong := cost(answer.cost)):
        return f"answer.cost: {wrong}"
    if isinstance(outcome, Accepted):
        return None
    if wrong := string(outcome.reason):
        return f"reason: {wrong}"
    if isinstance(outcome, Transient | Throttled):
        if not isinstance(outcome.circuit, CircuitEffect):
            return f"circuit: must be a CircuitEffect, not {kind_of(outcome.circuit)}"
        wrong = _pause(outcome.retry_after)
        return wrong and f"retry_after: {wrong}"
    wrong = _pause(outcome.hold) if isinstance(outcome, Unsent) else None
    return wrong and f"hold: {wrong}"


def recordable(outcome: Outcome) -> Outcome:
    """Return an outcome with texts that every store can keep: what a provider said may be anything."""
    if outcome.answer.reference is not None:
        reference = _plain(outcome.answer.reference, _LONGEST_REFERENCE)
        outcome = attrs.evolve(outcome, answer=attrs.evolve(outcome.answer, reference=reference))
    if isinstance(outcome, Accepted):
        return outcome
    reason = _plain(outcome.reason, _LONGEST_REASON)
    return outcome if reason == outcome.reason else attrs.evolve(outcome, reason=reason)


def _plain(text: str, longest: int) -> str:
    """Return a text without control characters, cut to what is kept."""
    if len(text) <= longest and not UNPRINTABLE.search(text):
        return text
    escaped = UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text[:longest])
    return escaped[:longest]
