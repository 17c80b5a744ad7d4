"""How many requests a key, a tenant and a person may send: token buckets in the store, for all processes together.

A process takes some tokens at a time, so that most requests do not ask the store.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

import attrs

from ..models.checks import field_check, instance, optional
from ..models.endpoint import RateLimit
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
_MOST = 10_000
_limit = field_check(optional(instance(RateLimit)))


@attrs.frozen(kw_only=True)
class RequestLimits:
    """How many requests are accepted; ``None`` for any number.

    Attributes:
        key: Of one API key, or of one subject of tokens.
        tenant: Of all callers of a tenant together.
        person: Of one person.
        failures: How many requests with wrong credentials an address may send to a process.

    Raises:
        InvalidInputError: A field is no :class:`~notifykit.RateLimit`.
    """

    key: RateLimit | None = attrs.field(default=None, validator=_limit)
    tenant: RateLimit | None = attrs.field(default=None, validator=_limit)
    person: RateLimit | None = attrs.field(default=RateLimit(per_second=20, burst=100), validator=_limit)
    failures: RateLimit = attrs.field(
        default=RateLimit(per_second=0.2, burst=20), validator=field_check(instance(RateLimit))
    )


@attrs.define
class _Bucket:
    """Tokens that this process has taken out of a bucket of the store."""

    tokens: int = 0
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

        Raises:
            Refusal: 429: there is none left of one of them.
        """
        if caller.recipient is not None:
            wanted = [("person", caller.recipient, self._limits.person)]
        else:
            wanted = [("key", caller.subject, self._limits.key)]
        wanted.append(("tenant", "", self._limits.tenant))
        headers: dict[str, str] = {}
        for name, subject, limit in wanted:
            if limit is not None:
                headers = await self._take(name, subject, limit, tenant)
        return headers

    async def _take(self, name: str, subject: str, limit: RateLimit, tenant: str) -> dict[str, str]:
        """Take a token; the header fields are those of draft-ietf-httpapi-ratelimit-headers-10."""
        bucket = self._bucket(f"{name}:{subject}", tenant)
        now = time.monotonic()
        if now - bucket.taken_at > _KEPT:
            bucket.tokens = 0
        if bucket.tokens < 1 and now >= bucket.empty_until:
            await self._fill(bucket, f"{name}:{subject}", limit, tenant, now)
        window = max(1, math.ceil(limit.burst / limit.per_second))
        policy = {"RateLimit-Policy": f'"{name}";q={limit.burst};w={window}'}
        if bucket.tokens < 1:
            wait = max(1, math.ceil(bucket.empty_until - now))
            raise Refusal(
                429,
                "too_many_requests",
                f"the limit of requests of this {name} is reached: try again after {wait} s",
                {**policy, "RateLimit": f'"{name}";r=0;t={wait}', "Retry-After": str(wait)},
            )
        bucket.tokens -= 1
        return {**policy, "RateLimit": f'"{name}";r={bucket.tokens};t={window}'}

    async def _fill(self, bucket: _Bucket, key: str, limit: RateLimit, tenant: str, now: float) -> None:
        ahead = max(1, min(limit.burst, int(limit.per_second * _AHEAD)))
        # The prefix is that of buckets that the store deletes when nobody has used them for long.
        name = f"{CAP}rest_{blake2b(key.encode(), digest_size=10).hexdigest()}"
        (got,) = await self._kit.store.acquire([TokenRequest(tenant, name, ahead, limit)], now=self._kit.clock.now())
        bucket.tokens, bucket.taken_at = got, now
        bucket.empty_until = now if got else now + 1 / limit.per_second

    def _bucket(self, key: str, tenant: str) -> _Bucket:
        bucket = self._buckets.setdefault((tenant, key), _Bucket())
        self._buckets.move_to_end((tenant, key))
        if len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
        return bucket
