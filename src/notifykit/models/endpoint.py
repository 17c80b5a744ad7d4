"""A tenant's webhook URL: what signs its deliveries, what goes with them, how they are retried."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

import attrs

from .checks import field_check, number, whole
from .retry import DEFAULT_RETRY, RetryPolicy

#: Within these every sum and quotient that is made of a rate is finite.
MIN_RATE, MAX_RATE = 0.0000001, 1_000_000.0
MAX_BURST = 1_000_000


class EndpointState(StrEnum):
    """Whether deliveries go to an endpoint.

    ``PAUSED`` keeps new deliveries waiting; ``DISABLED`` makes none and cancels what waits.
    """

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


@attrs.frozen(kw_only=True)
class EndpointSecret:
    """One signing key of an endpoint: ``whsec_…`` (HMAC) or ``whsk_…`` (Ed25519).

    Attributes:
        expires_at: When it stops signing; ``None`` for the current key.
    """

    value: str = attrs.field(repr=lambda v: f"'{v[:6]}…{v[-4:]}'")
    created_at: datetime
    expires_at: datetime | None = None


@attrs.frozen(kw_only=True)
class RateLimit:
    """A token bucket: so many attempts a second over all processes, and so many at once after a pause.

    Attributes:
        per_second: How many tokens come in a second, from 0.0000001 (one in 116 days) to 1,000,000.
        burst: How many tokens there are at the most, up to 1,000,000.
    """

    per_second: float = attrs.field(validator=field_check(number(MIN_RATE, MAX_RATE)))
    burst: int = attrs.field(default=1, validator=field_check(whole(1, MAX_BURST)))


@attrs.frozen(kw_only=True)
class Endpoint:
    """A webhook URL of a tenant.

    Attributes:
        url: The canonical URL; deliveries are POSTed there.
        state: Active, paused or disabled; ``state_reason`` says why it is not active.
        secrets: The newest key first; all keys that have not expired sign every attempt.
        headers: Extra request headers, names in lower case.
        retry: When failed attempts are tried again.
        timeout: The total deadline of one attempt, from DNS to the end of the response.
        max_in_flight: How many attempts one process may have open at a time.
        rate_limit: How many attempts a second all processes together may make.
        version: How often the endpoint has been saved; 0 until it is.  A store refuses to save a change of
            another version than the one it has.
    """

    id: str
    tenant: str
    url: str
    description: str = ""
    state: EndpointState = EndpointState.ACTIVE
    state_reason: str | None = None
    secrets: tuple[EndpointSecret, ...] = ()
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=lambda h: repr(sorted(h)))
    retry: RetryPolicy = DEFAULT_RETRY
    timeout: timedelta = timedelta(seconds=15)
    max_in_flight: int = 64
    rate_limit: RateLimit | None = None
    created_at: datetime
    updated_at: datetime
    version: int = 0

    def signing_keys(self, now: datetime) -> tuple[str, ...]:
        """Return the keys that sign at ``now``, newest first."""
        return tuple(s.value for s in self.secrets if s.expires_at is None or s.expires_at > now)
