"""The scenario of the demo: its tenants, receivers, subscriptions and events.

The expected deliveries are computed here, from the rules alone.  The demo compares them with the
counts of the receivers, so the result does not depend on the store and the dispatcher under test.
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
#: Regions with few events, which the failing receivers get: after ten failures in a row the circuit of an
#: endpoint opens, and its deliveries are held for longer than a demo should take.
FLAKY_REGION, BROKEN_REGION = "is", "mt"
SMALL = {FLAKY_REGION: 4, BROKEN_REGION: 3}


def _policy(*seconds: float) -> RetryPolicy:
    return RetryPolicy(delays=tuple(timedelta(seconds=pause) for pause in seconds))


class Role(NamedTuple):
    """How a receiver behaves.

    Attributes:
        fails: How many attempts of each event it refuses; ``None`` means all of them.
        status: The status with which it refuses.
        delay: Seconds before each response.
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
class DemoSubscription:
    """A subscription: which events of a tenant a receiver gets."""

    tenant: str
    role: Role
    event_types: tuple[str, ...]
    topic: str | None = None
    filter: Mapping[str, Any] | None = None

    @property
    def path(self) -> str:
        """The receiver's path for the tenant's events; each path has its own secret."""
        return f"/{self.tenant}"

    def wants(self, event: DemoEvent) -> bool:
        """Return whether the receiver should get an event."""
        return (
            event.tenant == self.tenant
            and any(compile_pattern(pattern, TYPES)(event.sample.type) for pattern in self.event_types)
            and (self.topic is None or compile_pattern(self.topic, TOPICS)(event.topic))
            and (self.filter is None or compile_filter(self.filter)(event.sample.data))
        )


class DemoEvent(NamedTuple):
    """An event that will be published."""

    tenant: str
    topic: str
    sample: Sample


def subscriptions(samples: Sequence[Sample]) -> list[DemoSubscription]:
    """Return subscriptions that match some of the given events."""
    healthy, flaky, broken, slow = ROLES
    first, second, third = TENANTS
    return [
        DemoSubscription(first, healthy, ("**",)),
        DemoSubscription(first, slow, ("**",), filter=_filter(samples)),
        DemoSubscription(second, healthy, _patterns(samples)),
        DemoSubscription(second, flaky, ("**",), topic=f"region/{FLAKY_REGION}/**"),
        DemoSubscription(second, broken, ("**",), topic=f"region/{BROKEN_REGION}/**"),
        DemoSubscription(third, slow, _patterns(samples), filter=_filter(samples)),
        DemoSubscription(third, flaky, ("**",), topic=f"region/{FLAKY_REGION}/**"),
        DemoSubscription(third, broken, ("**",), topic=f"region/{BROKEN_REGION}/**"),
    ]


def demo_events(samples: Sequence[Sample], count: int, seed: int) -> list[DemoEvent]:
    """Return ``count`` events for the tenants, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - a shuffle that can be repeated
    chosen: list[Sample] = []
    while len(chosen) < count:
        shuffled = list(samples)
        rng.shuffle(shuffled)
        chosen += shuffled[: count - len(chosen)]
    regions = [rng.choice(REGIONS) for _ in chosen]
    for tenant_index in range(len(TENANTS)):
        # In round robin, so that each tenant gets a share of even a few events; rare regions come early.
        own = list(range(tenant_index, count, len(TENANTS)))[:60]
        rare = iter(rng.sample(own, min(len(own), sum(SMALL.values()))))
        for region, number in SMALL.items():
            for at in islice(rare, number):
                regions[at] = region
    return [
        DemoEvent(TENANTS[at % len(TENANTS)], f"region/{regions[at]}/{sample.type.partition('.')[0]}", sample)
        for at, sample in enumerate(chosen)
    ]


def _patterns(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return patterns for the most frequent families of types: about half of the events."""
    words = [sample.type.split(".") for sample in samples]
    # If all types begin with the same word (``github.…``), the second word distinguishes families.
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
    """Return a condition on the data that some events meet and others do not."""
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
