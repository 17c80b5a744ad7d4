"""How many requests a key, a tenant and a person may send: token buckets in the store, for all processes together.

A process takes some tokens at a time, so that most requests do not ask the store.  A daily quota is a bucket of its
day, which does not refill.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import attrs

from ..models.checks import field_check, instance, optional, whole
from ..models.endpoint import MAX_BURST, MIN_RATE, RateLimit
from ..models.throttle import CAP
from ..ports import TokenRequest
from .access.callers import Caller
from .problems import Refusal

if TYPE_CHECKING:
    from ..kit import Notifykit

#: What a process takes at a time lasts for about so many seconds …
_AHEAD = 0.25
#: … and is given up after so many.
_KEPT = 2.0
#: The part of a daily quota that a process takes at a time; what is left of it when the process ends is lost.
_PART_OF_DAY = 1_000
_DAY = 86_400
_MOST = 10_000
_limit = field_check(optional(instance(RateLimit)))
_quota = field_check(optional(whole(1, 1_000_000_000_000)))


@attrs.frozen(kw_only=True)
class RequestLimits:
    """How many requests are accepted; ``None`` for any number.

    Attributes:
        key: Of one API key, or of one subject of tokens.
        tenant: Of all callers of a tenant together.
        person: Of one person.
        key_per_day: How many requests of one key from midnight to midnight, UTC; persons have no such quota.
        tenant_per_day: The same of all callers of a tenant together.
        failures: How many requests with wrong credentials an address may send to a process.

    Raises:
        InvalidInputError: A field is not what it should be.
    """

    key: RateLimit | None = attrs.field(default=None, validator=_limit)
    tenant: RateLimit | None = attrs.field(default=None, validator=_limit)
    person: RateLimit | None = attrs.field(default=RateLimit(per_second=20, burst=100), validator=_limit)
    key_per_day: int | None = attrs.field(default=None, validator=_quota)
    tenant_per_day: int | None = attrs.field(default=None, validator=_quota)
    failures: RateLimit = attrs.field(
        default=RateLimit(per_second=0.2, burst=20), validator=field_check(instance(RateLimit))
    )


class _Wanted(NamedTuple):
    """A limit that applies to a request.

    Attributes:
        name: What the headers call it.
        bucket: Whose bucket it is.
        quota: How many requests it allows …
        window: … in how many seconds.
        limit: The bucket in the store.
        worth: How many requests a token is: a bucket of the store holds a million tokens.
        ahead: How many tokens a process takes at a time …
        kept: … and for how many seconds it keeps them.
        wait: Seconds until the bucket has tokens again …
        resets: … and until it is full.
    """

    name: str
    bucket: str
    quota: int
    window: int
    limit: RateLimit
    worth: int
    ahead: int
    kept: float
    wait: float
    resets: int


@attrs.define
class _Bucket:
    """Requests that this process may let pass, because it has taken their tokens out of a bucket of the store."""

    left: int = 0
    taken_at: float = 0.0
    empty_until: float = 0.0


class Limiter:
    """Takes a token for each request."""

    def __init__(self, kit: Notifykit, limits: RequestLimits) -> None:
        self._kit = kit
        self._limits = limits
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    async def take(self, caller: Caller, tenant: str) -> dict[str, str]:
        """Take a token of each limit that applies; return the headers that tell what is left.

        The header fields are those of draft-ietf-httpapi-ratelimit-headers-10.

        Raises:
            Refusal: 429: there is none left of one of them.
        """
        policies, states = [], []
        for wanted in self._wanted(caller):
            policies.append(f'"{wanted.name}";q={wanted.quota};w={wanted.window}')
            bucket = await self._taken(wanted, tenant)
            if bucket.left < 1:
                wait = max(1, math.ceil(bucket.empty_until - time.monotonic()))
                raise Refusal(
                    429,
                    "too_many_requests",
                    f"the limit of requests of this {wanted.name} is reached: try again after {wait} s",
                    {
                        "RateLimit-Policy": policies[-1],
                        "RateLimit": f'"{wanted.name}";r=0;t={wait}',
                        "Retry-After": str(wait),
                    },
                )
            bucket.left -= 1
            states.append(f'"{wanted.name}";r={bucket.left};t={wanted.resets}')
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)} if policies else {}

    def _wanted(self, caller: Caller) -> Iterator[_Wanted]:
        limits, now = self._limits, self._kit.clock.now()
        if caller.recipient is not None:
            named: list[tuple[str, str, RateLimit | None, int | None]]
            named = [("person", caller.recipient, limits.person, None)]
        else:
            named = [("key", caller.subject, limits.key, limits.key_per_day)]
        for name, subject, limit, quota in (*named, ("tenant", "", limits.tenant, limits.tenant_per_day)):
            if limit is not None:
                yield _bucket(name, f"{name}:{subject}", limit)
            if quota is not None:
                yield _bucket_of_day(f"{name}-day", f"{name}:{subject}", quota, now)

    async def _taken(self, wanted: _Wanted, tenant: str) -> _Bucket:
        """Return what this process has of a bucket, after it has asked the store for more if that may help."""
        bucket = self._buckets.setdefault((tenant, wanted.bucket), _Bucket())
        self._buckets.move_to_end((tenant, wanted.bucket))
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        now = time.monotonic()
        if now - bucket.taken_at > wanted.kept:
            bucket.left = 0
        if bucket.left < 1 and now >= bucket.empty_until:
            # The prefix is that of buckets that the store deletes when they have not been used for long.
            key = f"{CAP}rest_{blake2b(wanted.bucket.encode(), digest_size=10).hexdigest()}"
            request = TokenRequest(tenant, key, wanted.ahead, wanted.limit)
            (got,) = await self._kit.store.acquire([request], now=self._kit.clock.now())
            bucket.left, bucket.taken_at = got * wanted.worth, now
            bucket.empty_until = now if got else now + wanted.wait
        return bucket


def _bucket(name: str, bucket: str, limit: RateLimit) -> _Wanted:
    window = max(1, math.ceil(limit.burst / limit.per_second))
    ahead = max(1, min(limit.burst, int(limit.per_second * _AHEAD)))
    return _Wanted(name, bucket, limit.burst, window, limit, 1, ahead, _KEPT, 1 / limit.per_second, window)


def _bucket_of_day(name: str, bucket: str, quota: int, now: datetime) -> _Wanted:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    left = (midnight - now).total_seconds()
    worth = math.ceil(quota / MAX_BURST)
    tokens = quota // worth
    ahead = max(1, tokens // _PART_OF_DAY)
    once = RateLimit(per_second=MIN_RATE, burst=tokens)  # less than a hundredth of a token a day
    return _Wanted(name, f"{bucket}:{midnight:%Y%m%d}", quota, _DAY, once, worth, ahead, left, left, math.ceil(left))
