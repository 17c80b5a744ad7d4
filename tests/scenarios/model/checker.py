"""What must hold after a simulated day, judged by what was seen from outside.

The checker keeps its own books: receipts of publishers, requests and answers of
receivers, claims and records as they went over the lines.  It compares them with what
the store holds in the end, and trusts no counter of the engine.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import attrs

from notifykit import Endpoint, Event
from notifykit.models.delivery import Claim, Delivery, DeliveryState
from notifykit.models.destination import Destination
from notifykit.ports import DeliveryFilter, Store

_PATTERNS = {
    "**": lambda type_: True,
    "order.*": lambda type_: type_.startswith("order."),
    "order.paid": lambda type_: type_ == "order.paid",
}


@attrs.define
class Checker:
    """The books of one day."""

    endpoints: dict[str, tuple[Endpoint, str]] = attrs.field(factory=dict)
    receipts: dict[str, Event] = attrs.field(factory=dict)
    bodies: dict[str, bytes] = attrs.field(factory=dict)
    accepts: defaultdict[tuple[str, str], list[float]] = attrs.field(factory=lambda: defaultdict(list))
    fences: dict[str, int] = attrs.field(factory=dict)
    trace: Any = attrs.field(factory=hashlib.blake2b)
    requests: int = 0

    # -- while it happens ------------------------------------------------------------------------

    def subscribed(self, endpoint: Endpoint, pattern: str) -> None:
        """Note who wants what."""
        self.endpoints[endpoint.id] = (endpoint, pattern)

    def published(self, event_id: str, event: Event) -> None:
        """Note a receipt."""
        assert event_id not in self.receipts, "two publishes got the same event"
        self.receipts[event_id] = event

    def sent(self, claim: Claim, destination: Destination, at: float) -> None:
        """Note a request (I6: the same bytes each time; I8: to the right tenant only)."""
        owner = self.endpoints[claim.subscriber_id][0]
        assert (owner.id, owner.tenant) == (destination.subscriber_id, destination.tenant)
        assert owner.tenant == claim.tenant, "a tenant's event goes to another tenant's endpoint"
        assert claim.body == self.bodies.setdefault(claim.event_id, claim.body), "a duplicate has other bytes"
        self.requests += 1
        self.trace.update(f"{at:.3f} {claim.delivery_id} {claim.attempt}\n".encode())

    def accepted(self, claim: Claim, at: float) -> None:
        """Note that a receiver took an event."""
        self.accepts[claim.event_id, claim.subscriber_id].append(at)

    def saw(self, verb: str, args: Sequence[Any], result: Any) -> None:
        """Follow the fences (I4: no result but that of the last claim is written)."""
        if verb == "claim":
            for claim in result:
                assert claim.fence > self.fences.get(claim.delivery_id, 0), "a fence did not grow"
                self.fences[claim.delivery_id] = claim.fence
        elif verb == "settle":
            for settlement in args[0]:
                for new in settlement.deliveries:
                    if settlement.event_id in result and new.state is DeliveryState.SENDING:
                        self.fences.setdefault(new.id, 1)
        elif verb == "record":
            for record in args[0]:
                if record.delivery_id in result:
                    assert record.fence == self.fences[record.delivery_id], "a stale result was written"

    # -- when it is over -------------------------------------------------------------------------

    async def check(self, store: Store, tenants: Sequence[str]) -> dict[str, int]:
        """Compare the books with the store; return figures."""
        deliveries: list[Delivery] = []
        for tenant in tenants:
            deliveries += await store.find_deliveries(tenant, DeliveryFilter(), limit=1_000_000)
        self._nothing_is_lost(deliveries)
        figures: Counter[str] = Counter()
        for delivery in deliveries:
            figures += await self._check_one(store, delivery)
        self._order_is_kept(deliveries)
        return {
            **figures,
            "events": len(self.receipts),
            "deliveries": len(deliveries),
            "requests": self.requests,
            "trace": int.from_bytes(self.trace.digest()[:6]),
        }

    def _nothing_is_lost(self, deliveries: Sequence[Delivery]) -> None:
        """I1, I9: each event with a receipt has exactly one delivery, and an ended one, for each who wanted it."""
        expected = {
            (event_id, endpoint.id)
            for event_id, event in self.receipts.items()
            for endpoint, pattern in self.endpoints.values()
            if endpoint.tenant == event.tenant and _PATTERNS[pattern](event.type)
        }
        found = Counter((delivery.event_id, delivery.subscriber_id) for delivery in deliveries)
        assert expected == set(found), f"missing {expected - set(found)}, unexpected {set(found) - expected}"
        assert {1} >= set(found.values()), "planned twice"
        assert all(delivery.state.is_final for delivery in deliveries)

    async def _check_one(self, store: Store, delivery: Delivery) -> Counter[str]:
        attempts = await store.attempts(delivery.tenant, delivery.id)
        accepts = self.accepts.get((delivery.event_id, delivery.subscriber_id), [])
        numbers = [attempt.number for attempt in attempts]
        assert list(range(1, len(attempts) + 1)) == numbers, f"I3: {delivery.id} has attempts {numbers}"
        assert delivery.attempts == len(attempts), f"I3: {delivery}"
        if delivery.state is DeliveryState.DELIVERED:
            assert accepts, f"I2: no receiver saw {delivery.id}"
        open_ends = sum(attempt.outcome in ("uncertain", "abandoned") for attempt in attempts)
        known = sum(attempt.outcome == "accepted" for attempt in attempts)
        assert len(accepts) <= known + open_ends, f"I5: {delivery.id} was taken {len(accepts)} times"
        return Counter(
            {
                delivery.state.value: 1,
                "duplicates": max(0, len(accepts) - 1),
                "abandoned": sum(attempt.outcome == "abandoned" for attempt in attempts),
                "redriven": delivery.generation,
            }
        )

    def _order_is_kept(self, deliveries: Sequence[Delivery]) -> None:
        """I7: per endpoint and ordering key, what was delivered without a redrive came in the order of publishing."""
        lines: defaultdict[tuple[str, str], list[Delivery]] = defaultdict(list)
        for delivery in deliveries:
            if delivery.ordering_key and delivery.state is DeliveryState.DELIVERED and not delivery.generation:
                lines[delivery.subscriber_id, delivery.ordering_key].append(delivery)
        for line in lines.values():
            line.sort(key=lambda delivery: delivery.event_id)
            first = [self.accepts[delivery.event_id, delivery.subscriber_id][0] for delivery in line]
            assert sorted(first) == first, "I7: a later event overtook an earlier one of its ordering key"
