"""When a failed attempt is tried again: a value stored with the endpoint.

The rule that reads it is :mod:`notifykit.policies.retry`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import attrs

MAX_ATTEMPTS = 50
_HOUR = timedelta(hours=1)


def _as_tuple(delays: Iterable[timedelta]) -> tuple[timedelta, ...]:
    return tuple(delays)


def _sensible(_: object, __: attrs.Attribute[tuple[timedelta, ...]], value: tuple[timedelta, ...]) -> None:
    if len(value) >= MAX_ATTEMPTS:
        raise ValueError(f"at most {MAX_ATTEMPTS - 1} retries, got {len(value)}")
    if any(delay < timedelta(0) or delay > timedelta(days=7) for delay in value):
        raise ValueError("each delay is between 0 s and 7 days")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """A list of pauses; attempt *n* waits for the *n*-th, and after the last one the delivery is dead.

    Attributes:
        delays: The pauses between attempts; there is one attempt more than pauses.
        jitter: Each pause is stretched or shrunk by up to this share, so that
            deliveries that failed together do not come back together.
        max_retry_after: The longest ``Retry-After`` that is honoured.
    """

    delays: tuple[timedelta, ...] = attrs.field(converter=_as_tuple, validator=_sensible)
    jitter: float = attrs.field(default=0.2, validator=[attrs.validators.ge(0), attrs.validators.lt(1)])
    max_retry_after: timedelta = attrs.field(default=24 * _HOUR, validator=attrs.validators.ge(timedelta(0)))

    @property
    def max_attempts(self) -> int:
        """How often a delivery is attempted at the most."""
        return len(self.delays) + 1

    @classmethod
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
        if not 1 <= attempts <= MAX_ATTEMPTS:
            raise ValueError(f"attempts is between 1 and {MAX_ATTEMPTS}, got {attempts}")
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
