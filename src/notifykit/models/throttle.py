"""Frequency caps: how many notifications of a kind a person gets in a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import attrs

from .checks import duration, field_check, listed, many, whole
from .endpoint import RateLimit
from .steps import IN_APP, MAX_STEPS, people_channel

#: A bucket that nothing was taken from for this long is full.
MAX_PER = timedelta(days=30)
_MAX_LIMIT = 10_000
#: How the keys of persons' buckets begin, and what sorts after all of them.
CAP, AFTER_CAPS = "cap_", "cap`"
_MICROSECOND = timedelta(microseconds=1)


def _as_channels(channels: Iterable[str] | str) -> Any:
    return (channels,) if isinstance(channels, str) else listed(channels, MAX_STEPS)


@attrs.frozen
class Throttle:
    """At most ``limit`` notifications ``per`` so much time, for each person, category and channel.

    It is a token bucket: ``limit`` at once, and after that another one each ``per / limit``.  Types of a category that
    have an equal throttle share the bucket.

    Attributes:
        limit: How many, from 1 to 10,000.
        per: In which time, from one second to 30 days.
        channels: Where it counts; by default on every channel but ``in_app``, where nothing disturbs.

    Raises:
        InvalidInputError: A field is not what it should be.
    """

    limit: int = attrs.field(validator=field_check(whole(1, _MAX_LIMIT)))
    per: timedelta = attrs.field(validator=field_check(duration(timedelta(seconds=1), MAX_PER)))
    channels: tuple[str, ...] = attrs.field(
        default=(),
        kw_only=True,
        converter=_as_channels,
        validator=field_check(many(people_channel, most=MAX_STEPS, what="channels")),
    )

    @property
    def rate(self) -> RateLimit:
        """The bucket: how fast it fills, and how much it holds."""
        return RateLimit(per_second=self.limit / self.per.total_seconds(), burst=self.limit)

    def counts_on(self, channel: str) -> bool:
        """Tell whether notifications on a channel count."""
        return channel in self.channels if self.channels else channel != IN_APP

    def bucket(self, recipient_id: str, category: str, channel: str) -> str:
        """Return the key of a person's bucket among the buckets of the tenant."""
        parts = json.dumps([category, channel, self.limit, self.per // _MICROSECOND])
        return buckets_of(recipient_id) + _hashed(parts)


def buckets_of(recipient_id: str) -> str:
    """Return how the keys of all buckets of a person begin."""
    return f"{CAP}{_hashed(recipient_id)}_"


def country_bucket(countries: str, throttle: Throttle) -> str:
    """Return the key of the bucket of a tenant's text messages to a country, or to those that share a calling code."""
    parts = json.dumps([countries, throttle.limit, throttle.per // _MICROSECOND])
    return f"{CAP}{_hashed('sms')}_{_hashed(parts)}"


def bounce_bucket(provider: str) -> str:
    """Return the key of the bucket that counts the bounces that a provider reports."""
    return f"{CAP}{_hashed('bounces')}_{_hashed(provider)}"


def _hashed(text: str) -> str:
    return blake2b(text.encode(), digest_size=10).hexdigest()


def throttle_to_json(throttle: Throttle | None) -> dict[str, Any] | None:
    """Return a throttle as stores keep it."""
    if throttle is None:
        return None
    return {"limit": throttle.limit, "per": throttle.per // _MICROSECOND, "channels": list(throttle.channels)}


def throttle_from_json(stored: Mapping[str, Any] | None) -> Throttle | None:
    """Return a throttle as it was stored."""
    if stored is None:
        return None
    return Throttle(stored["limit"], stored["per"] * _MICROSECOND, channels=stored["channels"])
