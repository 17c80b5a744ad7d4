"""Who plays in the demo: tenants, receivers, and who wants which events.

Who should get an event is worked out here from the rules alone.  The demo then compares that
with what the receivers counted, so neither the store nor the dispatcher vouches for itself.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

import attrs

from ...models.retry import RetryPolicy
from ...policies.filters import compile_filter
from ...policies.patterns import TOPICS, TYPES, compile_pattern
from .samples import Sample

TENANTS = ("atlas", "birch", "cobalt")
REGIONS = ("eu", "us", "apac")
#: Small markets, whose few events the troubled receivers get: an endpoint that fails ten times in a row
#: counts as failing, and its deliveries are parked for longer than a demo should take.
FLAKY_REGION, BROKEN_REGION = "is", "mt"
SMALL = {FLAKY_REGION: 4, BROKEN_REGION: 3}


def _policy(*seconds: float) -> RetryPolicy:
    return RetryPolicy(delays=tuple(timedelta(seconds=pause) for pause in seconds))


class Role(NamedTuple):
    """How a receiver behaves.

    Attributes:
        fails: How many attempts of each event it refuses; ``None``: all of them.
        status: What it answers when it refuses.
        delay: Seconds before each answer.
    """

    name: str
    behaviour: str
    fails: int | None = 0
    status: int = 503
    delay: float = 0.0
    retry: RetryPolicy = _policy(0.3, 0.6, 1.2, 2.4, 5.0, 5.0)


ROLES = (
    Role("healthy", "answers 200 at once"),
    Role("flaky", "fails twice for each event", fails=2),
    Role("broken", "always answers 500", fails=None, status=500, retry=_policy(0.4, 0.8)),
    Role("slow", "takes 200 ms", delay=0.2),
)


@attrs.frozen(eq=False)
class Wish:
    """A subscription: which of a tenant's events go to a receiver."""

    tenant: str
    role: Role
    event_types: tuple[str, ...]
    topic: str | None = None
    filter: Mapping[str, Any] | None = None

    @property
    def path(self) -> str:
        """Where the receiver takes the tenant's events; each path has a secret of its own."""
        return f"/{self.tenant}"

    def wants(self, act: Act) -> bool:
        """Tell whether the receiver should get an event."""
        return (
            act.tenant == self.tenant
            and any(compile_pattern(pattern, TYPES)(act.sample.type) for pattern in self.event_types)
            and (self.topic is None or compile_pattern(self.topic, TOPICS)(act.topic))
            and (self.filter is None or compile_filter(self.filter)(act.sample.data))
        )


class Act(NamedTuple):
    """An event that will be published."""

    tenant: str
    topic: str
    sample: Sample


def wishes(samples: Sequence[Sample]) -> list[Wish]:
    """Return subscriptions that fit the events, whatever they are."""
    healthy, flaky, broken, slow = ROLES
    first, second, third = TENANTS
    return [
        Wish(first, healthy, ("**",)),
        Wish(first, slow, ("**",), filter=_filter(samples)),
        Wish(second, healthy, _patterns(samples)),
        Wish(second, flaky, ("**",), topic=f"region/{FLAKY_REGION}/**"),
        Wish(second, broken, ("**",), topic=f"region/{BROKEN_REGION}/**"),
        Wish(third, slow, _patterns(samples), filter=_filter(samples)),
        Wish(third, flaky, ("**",), topic=f"region/{FLAKY_REGION}/**"),
        Wish(third, broken, ("**",), topic=f"region/{BROKEN_REGION}/**"),
    ]


def acts(samples: Sequence[Sample], count: int, seed: int) -> list[Act]:
    """Return ``count`` events for the tenants, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - a shuffle that can be repeated
    chosen: list[Sample] = []
    while len(chosen) < count:
        round_ = list(samples)
        rng.shuffle(round_)
        chosen += round_[: count - len(chosen)]
    regions = [rng.choice(REGIONS) for _ in chosen]
    for turn in range(len(TENANTS)):
        # In turn, so that each tenant gets a share of even a handful of events; the rare ones come early.
        own = list(range(turn, count, len(TENANTS)))[:60]
        rare = iter(rng.sample(own, min(len(own), sum(SMALL.values()))))
        for region, number in SMALL.items():
            for at in islice(rare, number):
                regions[at] = region
    return [
        Act(TENANTS[at % len(TENANTS)], f"region/{regions[at]}/{sample.type.partition('.')[0]}", sample)
        for at, sample in enumerate(chosen)
    ]


def _patterns(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return patterns for the most frequent families of types: about half of the events."""
    words = [sample.type.split(".") for sample in samples]
    # Where all types begin alike (``github.…``), the second word tells families apart.
    size = 2 if len({parts[0] for parts in words}) == 1 and all(len(parts) > 1 for parts in words) else 1
    families = Counter(".".join(parts[:size]) for parts in words)
    patterns: list[str] = []
    matched = 0
    for family, number in families.most_common(5):
        if patterns and matched * 2 >= len(samples):
            break
        patterns.append(f"{family}.**")
        matched += number
    return tuple(patterns)


def _filter(samples: Sequence[Sample]) -> Mapping[str, Any]:
    """Return a condition on the data that holds for some events and not for others."""
    seen = Counter(
        (key, value)
        for sample in samples
        for key, value in sample.data.items()
        if isinstance(value, str) and 0 < len(value) <= 40
    )
    shared = [(number, pair) for pair, number in seen.items() if 1 < number < len(samples)]
    if shared:
        _, (key, value) = max(shared)
        return {key: [value]}
    keys = Counter(key for sample in samples for key in sample.data)
    rare = [key for key, number in sorted(keys.items()) if number < len(samples)]
    return {(rare or sorted(keys) or ["id"])[0]: [{"exists": True}]}
