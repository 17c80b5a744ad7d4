"""What has happened to deliveries between two looks at them.

Pure: what was seen last and what is seen now are arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ..models.delivery import Delivery, DeliveryState

#: States that a delivery passes through without anything that would be worth a line.
_BYPASS = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})


class Seen(NamedTuple):
    """What a delivery was like at the last look."""

    state: DeliveryState
    attempts: int


class Moved(NamedTuple):
    """A delivery with which something has happened.

    Attributes:
        attempts_before: How many of its attempts were known at the last look.
    """

    delivery: Delivery
    attempts_before: int


def moved(before: Mapping[str, Seen], now: Iterable[Delivery], *, new: Collection[str]) -> list[Moved]:
    """Return the deliveries that are new, were tried, or are in another state than before, in the order of their ids.

    Args:
        before: What was seen of deliveries at the last look, by their ids.
        now: What they are now.
        new: The ids of those that count as new if they were not seen before; the others come into sight only because
            others have ended.
    """
    found = []
    for delivery in now:
        seen = before.get(delivery.id)
        if seen is None:
            if delivery.id in new:
                found.append(Moved(delivery, 0))
        elif delivery.attempts > seen.attempts or (delivery.state is not seen.state and delivery.state not in _BYPASS):
            found.append(Moved(delivery, seen.attempts))
    return sorted(found, key=lambda each: each.delivery.id)
