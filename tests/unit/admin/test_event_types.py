"""Declared event types are stored when a dispatcher starts, and by a call."""

from __future__ import annotations

import attrs
import pytest

from notifykit import EventType, Notifykit, event
from notifykit.models.delivery import Priority
from notifykit.models.event_type import StoredEventType


@event("order.shipped", category="orders", purpose="marketing", priority=Priority.LOW)
@attrs.frozen
class OrderShipped:
    """An order has left."""

    order_id: str


PAID = EventType(name="order.paid", description="Paid.")


async def _stored(kit: Notifykit) -> list[StoredEventType]:
    return await kit.store.page(StoredEventType, "", limit=9)


async def test_what_is_declared_is_stored_once() -> None:
    """A second call finds nothing to do, and a declaration that has changed replaces the one before."""
    async with Notifykit("memory://", event_types=[OrderShipped, PAID]) as kit:
        counts = [await kit.sync_event_types() for _ in range(2)]
        paid, shipped = await _stored(kit)
        changed = Notifykit(store=kit.store, event_types=[attrs.evolve(PAID, category="money")])
        async with changed:
            counts.append(await changed.sync_event_types())
            again = await _stored(changed)

    assert [2, 0, 1] == counts
    assert ("orders", "marketing", Priority.LOW, "An order has left.") == (
        shipped.category,
        shipped.purpose,
        shipped.priority,
        shipped.description,
    )
    assert ("Paid.", 1) == (paid.description, paid.version)
    assert [("money", 2), ("orders", 1)] == [(one.category, one.version) for one in again]


@pytest.mark.parametrize("declared", [[], [PAID]])
async def test_a_dispatcher_stores_them_when_it_starts(declared: list[EventType]) -> None:
    """So a program that delivers need not call anything."""
    async with Notifykit("memory://", event_types=declared) as kit, kit.dispatcher():
        assert [one.name for one in declared] == [one.name for one in await _stored(kit)]
