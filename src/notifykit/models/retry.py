"""When a failed attempt is tried again: a value stored with the endpoint.

The rule that reads it is :mod:`notifykit.policies.retry`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from math import nextafter

import attrs

from .checks import Check, anything, checked, duration, field_check, listed, many, number, whole

MAX_ATTEMPTS = 50
_HOUR = timedelta(hours=1)


#: The longest pause between two attempts, and the longest that a receiver can ask for.
MAX_DELAY, MAX_RETRY_AFTER = timedelta(days=7), timedelta(days=366)
_NONE = timedelta(0)
#: The largest number below 1.
_MAX_JITTER = nextafter(1.0, 0.0)

_delays = many(duration(_NONE, MAX_DELAY), most=MAX_ATTEMPTS - 1, what="timedeltas")
_EXPONENTIAL: Mapping[str, Check] = {
    "first": duration(_NONE, MAX_DELAY),
    "factor": number(0, 1_000_000),
    "cap": duration(_NONE, MAX_DELAY),
    "attempts": whole(1, MAX_ATTEMPTS),
}


def _as_tuple(delays: Iterable[timedelta]) -> tuple[timedelta, ...]:
    """Read any iterable of pauses, and no further than there may be pauses."""
    pauses: tuple[timedelta, ...] = listed(delays, MAX_ATTEMPTS)
    return pauses


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """A list of pauses; attempt *n* waits for the *n*-th, and after the last one the delivery is dead.

    Attributes:
        delays: The pauses between attempts, of up to 7 days; there is one attempt more than pauses.
        jitter: Each pause is stretched or shrunk by up to this share, so that
            deliveries that failed together do not come back together.
        max_retry_after: The longest ``Retry-After`` that is honoured.
    """

    delays: tuple[timedelta, ...] = attrs.field(converter=_as_tuple, validator=field_check(_delays))
    jitter: float = attrs.field(default=0.2, validator=field_check(number(0, _MAX_JITTER)))
    max_retry_after: timedelta = attrs.field(
        default=24 * _HOUR, validator=field_check(duration(_NONE, MAX_RETRY_AFTER))
    )

    @property
    def max_attempts(self) -> int:
        """How often a delivery is attempted at the most."""
        return len(self.delays) + 1

    @classmethod
    @checked(_EXPONENTIAL, jitter=anything)
    def exponential(
        cls,
        *,
        first: timedelta = timedelta(seconds=5),
        factor: float = 2.0,
        cap: timedelta = timedelta(hours=10),
        attempts: int = 12,
        jitter: float = 0.2,
    ) -> RetryPolicy:
        """Return a policy whose pauses grow by ``factor`` from ``first`` up to ``cap``."""
        pauses = []
        pause = first
        for _ in range(attempts - 1):
            pauses.append(min(pause, cap))
            pause = min(pause * factor, cap)
        return cls(delays=tuple(pauses), jitter=jitter)


DEFAULT_RETRY = RetryPolicy(
    delays=(
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(minutes=30),
        2 * _HOUR,
        5 * _HOUR,
        10 * _HOUR,
        10 * _HOUR,
    )
)
