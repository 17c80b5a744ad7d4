"""Frequency caps as they are declared."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from notifykit import ConfigurationError, InvalidInputError, Throttle, event
from notifykit.models.endpoint import RateLimit
from notifykit.models.throttle import buckets_of

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("arguments", "channels", "problem"),
    [
        ((0, HOUR), (), "limit: "),
        ((10_001, HOUR), (), "limit: "),
        ((True, HOUR), (), "limit: "),
        ((1, 3600), (), "per: "),
        ((1, timedelta(0)), (), "per: "),
        ((1, timedelta(days=31)), (), "per: "),
        ((1, HOUR), ("webhook",), "channels"),
        ((1, HOUR), 5, "channels"),
        ((1, HOUR), ("",), "channels"),
    ],
)
def test_a_wrong_throttle_is_refused(arguments: Any, channels: Any, problem: str) -> None:
    """The error names the argument."""
    with pytest.raises(InvalidInputError, match=problem):
        Throttle(*arguments, channels=channels)


def test_every_throttle_is_a_bucket() -> None:
    """The rarest and the most frequent ones, too."""
    assert RateLimit(per_second=5 / 3600, burst=5) == Throttle(5, HOUR).rate
    assert 1 == Throttle(1, timedelta(days=30)).rate.burst
    assert 10_000 == Throttle(10_000, timedelta(seconds=1)).rate.burst


def test_a_bucket_is_of_one_person_category_and_channel() -> None:
    """Its key says whose it is, without the id; throttles that differ have buckets of their own."""
    one = Throttle(5, HOUR)
    keys = [
        one.bucket("user:42", "news", "email"),
        one.bucket("user:42", "news", "sms"),
        one.bucket("user:42", "other", "email"),
        one.bucket("user:43", "news", "email"),
        Throttle(6, HOUR).bucket("user:42", "news", "email"),
        Throttle(5, 2 * HOUR).bucket("user:42", "news", "email"),
    ]

    assert 6 == len(set(keys))
    assert keys[0] == Throttle(5, HOUR, channels="email").bucket("user:42", "news", "email")
    assert [True, True, True, False] == [key.startswith(buckets_of("user:42")) for key in keys[:4]]
    assert "user" not in keys[0]


def test_the_inbox_counts_only_if_it_is_named() -> None:
    """A list disturbs nobody."""
    assert [True, False] == [Throttle(1, HOUR).counts_on(each) for each in ("email", "in_app")]
    assert [False, True] == [Throttle(1, HOUR, channels=["in_app"]).counts_on(each) for each in ("email", "in_app")]


def test_a_type_refuses_another_throttle() -> None:
    """A number is none."""
    with pytest.raises(ConfigurationError, match="throttle"):
        event("news.posted", throttle=5)(Throttle)  # type: ignore[arg-type]
