"""How a tenant's endpoints are doing, out of the newest deliveries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

import attrs

from ....models.circuit import OpenCircuit
from ....models.delivery import OPEN_STATES, Delivery, DeliveryState
from ....policies.arguments import MAX_PAGE

if TYPE_CHECKING:
    from ....kit import Notifykit

#: How many of the newest deliveries are counted.
RECENT = min(1_000, MAX_PAGE)
_HOURS = 24
K = TypeVar("K")


@attrs.frozen(kw_only=True)
class Tally:
    """How many of some deliveries are in which state.

    Attributes:
        open: Those that wait or are being sent.
        lost: Those that ended otherwise than delivered.
    """

    total: int
    open: int
    delivered: int
    dead: int
    lost: int

    @classmethod
    def of(cls, deliveries: Sequence[Delivery]) -> Tally:
        """Count deliveries."""
        counts = Counter(delivery.state for delivery in deliveries)
        return cls(
            total=len(deliveries),
            open=sum(counts[state] for state in OPEN_STATES),
            delivered=counts[DeliveryState.DELIVERED],
            dead=counts[DeliveryState.DEAD],
            lost=sum(counts.values()) - counts[DeliveryState.DELIVERED] - sum(counts[state] for state in OPEN_STATES),
        )

    @property
    def rate(self) -> float | None:
        """The share of those that were delivered or given up and were delivered."""
        ended = self.delivered + self.dead
        return self.delivered / ended if ended else None


@attrs.frozen(kw_only=True)
class Statistics:
    """What became of a tenant's newest deliveries.

    Attributes:
        since: When the oldest of them was made, if there are more than are counted.
        waits: How long half of those that were delivered took at the most, from planning on.
        hours: By the hours of the last day, the latest first.
    """

    whole: Tally
    since: datetime | None
    waits: timedelta | None
    by_subscriber: dict[str, Tally]
    by_type: dict[str, Tally]
    hours: list[tuple[datetime, Tally]]


async def statistics(kit: Notifykit, tenant: str) -> Statistics:
    """Return what became of a tenant's newest deliveries."""
    newest = await kit.deliveries.list(tenant=tenant, limit=RECENT)
    now = kit.clock.now().replace(minute=0, second=0, microsecond=0)
    took = sorted(d.finished_at - d.created_at for d in newest if d.finished_at and d.state is DeliveryState.DELIVERED)
    by_hour = _grouped(newest, lambda d: d.created_at.astimezone(now.tzinfo).replace(minute=0, second=0, microsecond=0))
    hours = [now - timedelta(hours=ago) for ago in range(_HOURS)]
    by_type = _grouped(newest, lambda d: d.event_type)
    return Statistics(
        whole=Tally.of(newest),
        since=newest[-1].created_at if len(newest) == RECENT else None,
        waits=took[len(took) // 2] if took else None,
        by_subscriber=_grouped(newest, lambda d: d.subscriber_id),
        by_type=dict(sorted(by_type.items(), key=lambda item: -item[1].total)),
        hours=[(hour, by_hour[hour]) for hour in hours if hour in by_hour],
    )


async def circuits_of(kit: Notifykit, tenant: str) -> dict[str, OpenCircuit]:
    """Return the open circuits of a tenant's endpoints."""
    return {each.key: each for each in await kit.store.circuits() if each.tenant == tenant}


def _grouped(deliveries: Sequence[Delivery], key: Callable[[Delivery], K]) -> dict[K, Tally]:
    groups: dict[K, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        groups[key(delivery)].append(delivery)
    return {name: Tally.of(its) for name, its in groups.items()}
