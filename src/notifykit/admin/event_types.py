"""The event types that a program declares, stored so that other processes know them without its code."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..changes import change
from ..models.event import EventType
from ..models.event_type import ALL_TENANTS, StoredEventType
from ..ports import Store


async def save_types(store: Store, declared: Iterable[EventType]) -> int:
    """Store what is declared, as far as it is not stored like that already; return how many types that were.

    Types that are stored and not declared stay: another program may declare them.
    """
    wanted = {event_type.name: StoredEventType.of(event_type) for event_type in declared}
    stored = {found.id: found for found in await store.get(StoredEventType, ALL_TENANTS, list(wanted))}
    changed = [record for name, record in wanted.items() if _differs(record, stored.get(name))]
    for record in changed:
        await _save(store, record)
    return len(changed)


async def _save(store: Store, record: StoredEventType) -> None:
    async def read() -> StoredEventType | None:
        return next(iter(await store.get(StoredEventType, ALL_TENANTS, [record.id])), None)

    def wanted(current: StoredEventType | None) -> StoredEventType | None:
        if not _differs(record, current):
            return current
        return record if current is None else attrs.evolve(record, version=current.version)

    async def save(changed: StoredEventType | None) -> StoredEventType | None:
        assert changed is not None
        return await store.save(changed)

    await change(read, wanted, save)


def _differs(record: StoredEventType, stored: StoredEventType | None) -> bool:
    return stored is None or attrs.evolve(stored, version=0) != record
