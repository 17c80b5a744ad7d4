"""``notifykit serve --limits``: how many requests are accepted, in one line."""

from __future__ import annotations

import argparse

import pytest

from notifykit.cli.failures import UsageError
from notifykit.cli.serve import _limits, request_limits
from notifykit.models.endpoint import RateLimit
from notifykit.web import RequestLimits


def test_limits_and_quotas_are_read() -> None:
    """What is not named is as without the option; without a burst it is what comes in a second."""
    assert RequestLimits(
        key=RateLimit(per_second=50, burst=200), tenant=RateLimit(per_second=0.5, burst=1), key_per_day=100_000
    ) == request_limits("key=50:200, tenant=0.5,key-day=100000")


@pytest.mark.parametrize("text", ["key", "key=0", "key=1:0", "user=5", "key-day=0", "key-day=1.5", "key=2000000"])
def test_what_cannot_be_is_refused(text: str) -> None:
    """The error names the part, and shows how it is written."""
    with pytest.raises(argparse.ArgumentTypeError, match="write it like key=50:200"):
        request_limits(text)


def test_the_environment_is_asked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line goes before it; a mistake in it names the variable."""
    given = RequestLimits(key_per_day=1)
    monkeypatch.setenv("NOTIFYKIT_LIMITS", "tenant-day=7")
    both = _limits(None), _limits(given)
    monkeypatch.setenv("NOTIFYKIT_LIMITS", "day=7")

    assert (RequestLimits(tenant_per_day=7), given) == both
    with pytest.raises(UsageError, match="NOTIFYKIT_LIMITS"):
        _limits(None)
