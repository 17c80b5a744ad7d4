"""What an operator can turn, with defaults that need no turning."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import attrs

from ..errors import ConfigurationError
from ..models import checks
from ..models.delivery import Lane, Priority
from ..models.messages import KINDS
from ..models.throttle import Throttle
from ..policies.sms import COUNTRIES
from ..policies.sms_caps import ANY


def _concurrency(value: object) -> str | None:
    if isinstance(value, Mapping) and (missing := [each.value for each in Priority if each not in value]):
        return f"says nothing of {', '.join(missing)}"
    return checks.mapping(checks.instance(Priority), checks.whole(1, 100_000), most=len(Priority))(value)


def _affordable() -> int:
    """Return for how many attempts that take long a lane may open files: three lanes together take three quarters."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MAX_UNPROVEN
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MAX_UNPROVEN if files == resource.RLIM_INFINITY else min(_MAX_UNPROVEN, files // 4)


def _country(value: object) -> str | None:
    return None if value == ANY or value in COUNTRIES else f"must be '{ANY}' or the two letters of a country"


def _lanes(value: object) -> str | None:
    return checks.mapping(checks.text(most=200), checks.instance(LaneSettings), most=10_000)(value)


#: What a process may do.
ROLES = ("plan", "relay", "send", "clean")
_MAX_UNPROVEN = 4096
_COUNT = checks.whole(1, 1_000_000)
_checked = partial(checks.field_check, refusal=ConfigurationError)
_DURATION = checks.duration(-checks.MAX_DURATION)
_SETTINGS: Mapping[str, checks.Check] = {
    "concurrency": _concurrency,
    "batch": checks.whole(-1_000_000, 1_000_000),
    "prefetch": _COUNT,
    "max_unproven": checks.whole(0, 1_000_000),
    "lanes": _lanes,
    "tickets": _COUNT,
    **dict.fromkeys(("lease", "hold", "max_timeout", "lease_margin", "poll", "idempotency_window"), _DURATION),
    **dict.fromkeys(("grace", "retention", "audit_retention", "patience"), checks.duration(timedelta(0))),
    "max_abandoned": checks.whole(1, 1000),
    "sms_caps": checks.mapping(_country, checks.instance(Throttle), most=300),
    "roles": checks.many(checks.string, most=16, what="roles"),
}


@attrs.frozen(kw_only=True)
class LaneSettings:
    """What one lane of a process may have open and hold.

    Attributes:
        concurrency: Attempts open at a time, apart from those that take long.
        prefetch: Claims held in memory, those being sent included, apart from those whose attempts take long.
        max_unproven: Attempts that take long, open beside the others; 0 counts all alike.
    """

    concurrency: int = attrs.field(validator=_checked(checks.whole(1, 100_000)))
    prefetch: int = attrs.field(validator=_checked(_COUNT))
    max_unproven: int = attrs.field(validator=_checked(checks.whole(0, 1_000_000)))


@attrs.frozen(kw_only=True)
class DispatchSettings:
    """How a dispatcher works.

    Attributes:
        concurrency: Attempts open at a time in each lane of this process, apart from those that take longer than
            some 100 ms.
        batch: Rows per statement at the most.
        prefetch: Claims held in memory per lane at the most, those being sent included.
        max_unproven: Attempts that take longer, open in each lane beside the others; destinations that have not
            answered lately get at most half of them.  By default a quarter of the files that the process may open,
            and at most 4,096; with 0 all attempts are counted alike.
        lanes: What single lanes have instead, by their names: ``email``, ``email:high``.
        lease: How long a claim is valid unless extended.
        hold: With a broker: after how long a delivery whose ticket was lost is handed to the broker again.
        tickets: With a broker: how many deliveries of each lane are handed over and not claimed at the most.
        max_timeout: How long an attempt may take; an endpoint's own deadline is cut to it.
        lease_margin: How much longer than that a lease must be at least: for the write of the
            result, and for clocks that differ.
        poll: How often the store is asked when no notification comes.
        grace: How long a stop waits for attempts that are under way.
        max_abandoned: A delivery whose worker died this often is quarantined.
        retention: How long ended deliveries and their events are kept.
        audit_retention: How long the audit log of operators is kept.
        idempotency_window: How long an idempotency key is remembered.
        patience: An endpoint that has only failed for this long is disabled.
        roles: ``plan``, ``relay``, ``send``, ``clean``: what this process does.  Without a broker ``relay`` is nothing
            to do.
        sms_caps: How many text messages the people of each tenant get, by country (ISO 3166-1); ``*`` counts for each
            country that is not named.
    """

    concurrency: Mapping[Priority, int] = attrs.field(
        factory=lambda: {Priority.HIGH: 128, Priority.NORMAL: 384, Priority.LOW: 64}
    )
    batch: int = 500
    prefetch: int = 1500
    max_unproven: int = attrs.field(factory=_affordable)
    lanes: Mapping[str, LaneSettings] = attrs.field(factory=dict)
    lease: timedelta = timedelta(seconds=60)
    hold: timedelta = timedelta(seconds=30)
    tickets: int = 2000
    max_timeout: timedelta = timedelta(seconds=30)
    lease_margin: timedelta = timedelta(seconds=10)
    poll: timedelta = timedelta(seconds=1)
    grace: timedelta = timedelta(seconds=20)
    max_abandoned: int = 5
    retention: timedelta = timedelta(days=30)
    audit_retention: timedelta = timedelta(days=180)
    idempotency_window: timedelta = timedelta(hours=48)
    patience: timedelta = timedelta(days=5)
    roles: frozenset[str] = frozenset(ROLES)
    sms_caps: Mapping[str, Throttle] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        given = {name: getattr(self, name) for name in _SETTINGS}
        if wrong := checks.problems(given, _SETTINGS):
            raise ConfigurationError("; ".join(wrong))
        if min(self.max_timeout, self.lease_margin) <= timedelta(0):
            raise ConfigurationError("max_timeout and lease_margin must be longer than nothing")
        if min(self.poll, self.hold) <= timedelta(0):
            raise ConfigurationError("poll and hold must be longer than nothing")
        if self.lease < self.max_timeout + self.lease_margin:
            raise ConfigurationError(
                f"lease is {self.lease.total_seconds():g} s; it must be at least "
                f"{(self.max_timeout + self.lease_margin).total_seconds():g} s (max_timeout + lease_margin), longer "
                "than the longest attempt, or a second worker would send what the first is still sending"
            )
        if not 1 <= self.batch <= self.prefetch:
            raise ConfigurationError(f"batch ({self.batch}) must be between 1 and prefetch ({self.prefetch})")
        if self.idempotency_window < timedelta(hours=24):
            raise ConfigurationError("idempotency_window must be at least 24 hours")
        if unknown := set(self.roles) - set(ROLES):
            raise ConfigurationError(f"unknown roles: {', '.join(sorted(unknown))}; known: {', '.join(ROLES)}")

    def lane(self, lane: Lane) -> LaneSettings:
        """Return the settings of one lane."""
        return self.lanes.get(str(lane)) or LaneSettings(
            concurrency=self.concurrency[lane.priority],
            prefetch=self.prefetch,
            # One provider carries all messages to people: how long it takes says nothing of each of them.
            max_unproven=0 if lane.channel in KINDS else self.max_unproven,
        )
