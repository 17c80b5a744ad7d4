"""What happens to a delivery after an attempt.

Pure: the clock and the random numbers are arguments, so every branch is a table test.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, assert_never

import attrs

from ..errors import ConfigurationError
from ..models.delivery import WEBHOOK
from ..models.outcome import Accepted, BadRecipient, Outcome, Permanent, Throttled, Transient, Uncertain, Unsent
from ..models.preferences import Purpose
from ..models.receipt import UNCERTAIN
from ..models.retry import MAX_ATTEMPTS, RetryPolicy
from ..models.steps import IN_APP

#: Returns a number in [0, 1); ``random.random`` in production.
Rng = Callable[[], float]

_SMS = "sms"
#: Their receivers recognise a repeat by its id, whatever it is about.
_IDEMPOTENT = frozenset({WEBHOOK, IN_APP})

_RATE_PAUSE = timedelta(seconds=60)
#: How long a delivery waits that could not be sent because this process lacked a resource; spread by half of it.
_SHORTAGE_PAUSE = timedelta(seconds=2)


@attrs.frozen(kw_only=True)
class Complete:
    """The delivery was accepted."""


@attrs.frozen(kw_only=True)
class RetryAt:
    """Try again at ``due_at``."""

    due_at: datetime
    reason: str


@attrs.frozen(kw_only=True)
class DeadLetter:
    """Give up: the delivery becomes a dead letter.

    Attributes:
        invalidate: The address is gone for good and must not be used again.
    """

    reason: str
    invalidate: bool = False


@attrs.frozen(kw_only=True)
class PutBack:
    """Nothing was tried: the delivery is due again at ``due_at``, and no attempt is counted.

    Attributes:
        is_held: Whether an operator has to do something first, and can wake it then.
    """

    due_at: datetime
    reason: str
    is_held: bool = False


NextStep = Complete | RetryAt | DeadLetter | PutBack

COMPLETE = Complete()


def may_repeat(channel: str, purpose: str | None) -> bool:
    """Tell whether a message that may have arrived is sent again.

    A text message costs money each time, and advertising is not worth sending twice.
    """
    return channel in _IDEMPOTENT or (channel != _SMS and purpose != Purpose.MARKETING)


def next_step(
    outcome: Outcome, *, tries: int, policy: RetryPolicy, now: datetime, rng: Rng, repeats: bool = True
) -> NextStep:
    """Turn the outcome of an attempt into what happens next.

    Args:
        tries: How many attempts of this generation have been made, this one included.
        repeats: Whether it is sent again although it may have arrived (see :func:`may_repeat`).
    """
    match outcome:
        case Accepted():
            return COMPLETE
        case Permanent(reason=reason):
            return DeadLetter(reason=reason)
        case BadRecipient(reason=reason):
            return DeadLetter(reason=reason, invalidate=True)
        case Uncertain() if not repeats:
            return DeadLetter(reason=UNCERTAIN)
        case Transient(reason=reason) | Throttled(reason=reason) | Uncertain(reason=reason):
            if tries >= policy.max_attempts:
                return DeadLetter(reason=f"exhausted:{reason}")
            pause = _pause(outcome, policy.delays[tries - 1], policy, rng)
            return RetryAt(due_at=now + pause, reason=reason)
        case Unsent(reason=reason, hold=hold):
            pause = (hold or _SHORTAGE_PAUSE) * (0.5 + rng())
            return PutBack(due_at=now + pause, reason=reason, is_held=hold is not None)
        case _:
            assert_never(outcome)


def _pause(outcome: Transient | Throttled | Uncertain, delay: timedelta, policy: RetryPolicy, rng: Rng) -> timedelta:
    pause = delay * (1 + policy.jitter * (2 * rng() - 1))
    asked = None if isinstance(outcome, Uncertain) else outcome.retry_after
    if asked is None and isinstance(outcome, Throttled):
        asked = _RATE_PAUSE
    if asked is None:
        return pause
    # Never earlier than asked; later by chance, because many deliveries may have got the same answer.
    return max(pause, min(asked, policy.max_retry_after) * (1 + policy.jitter * rng()))


#: A tenacity wait strategy: takes a ``RetryCallState`` and returns seconds.
TenacityWait = Callable[[Any], float]


def from_tenacity(wait: TenacityWait, *, attempts: int = 8, jitter: float = 0.2) -> RetryPolicy:
    """Return the policy that a tenacity wait strategy amounts to.

    A policy is stored with its endpoint, so the strategy is asked once for each pause.

    Args:
        wait: Such as ``tenacity.wait_exponential(multiplier=5, max=3600)``.
        attempts: How often a delivery is attempted at the most.
        jitter: Spread around each pause; see :class:`RetryPolicy`.

    Raises:
        ConfigurationError: The strategy returned something that is not a pause.
    """
    import tenacity

    if not 1 <= attempts <= MAX_ATTEMPTS:
        raise ConfigurationError(f"attempts is between 1 and {MAX_ATTEMPTS}, got {attempts}")
    pauses = []
    for number in range(1, attempts):
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = number
        try:
            pauses.append(timedelta(seconds=float(wait(state))))
        except Exception as error:
            raise ConfigurationError(f"retry: {wait!r:.200} gave no pause for attempt {number}: {error}") from error
    try:
        return RetryPolicy(delays=tuple(pauses), jitter=jitter)
    except ValueError as error:
        raise ConfigurationError(f"retry: {wait!r:.200} is not a retry policy: {error}") from error
