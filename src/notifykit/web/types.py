"""Types of events that are stored and not declared by this program: what is published must satisfy their schemas."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..catalog import EventCatalog
from ..errors import ConfigurationError, InvalidEventError, InvalidInputError
from ..models.event import Event, EventType
from ..models.event_type import ALL_TENANTS, StoredEventType

if TYPE_CHECKING:
    from ..kit import Notifykit

#: For how many seconds a type is not read again.
_REMEMBERED = 5.0
_MOST = 1_000


class StoredTypes:
    """Checks events by the schemas of stored types."""

    def __init__(self, kit: Notifykit) -> None:
        self._kit = kit
        self._known: OrderedDict[str, tuple[float, EventCatalog]] = OrderedDict()

    async def check(self, events: Sequence[Event], *, many: bool = False) -> None:
        """Refuse events whose data does not satisfy the schema of their type.

        Args:
            many: Whether problems are told with the event's place.

        Raises:
            InvalidEventError: With every problem found.
        """
        problems: list[str] = []
        for at, event in enumerate(events):
            catalog = None if event.type in self._kit.catalog else await self._catalog_of(event.type)
            find = None if catalog is None else catalog.check(catalog.get(event.type))
            if find is not None:
                problems += [f"[{at}].{problem}" if many else problem for problem in find(event.data)]
        if problems:
            raise InvalidEventError(problems)

    async def _catalog_of(self, name: str) -> EventCatalog:
        now = time.monotonic()
        known = self._known.get(name)
        if known is not None and known[0] > now:
            return known[1]
        found = await self._kit.store.get(StoredEventType, ALL_TENANTS, [name])
        catalog = EventCatalog([declaration(each) for each in found if each.schema is not None])
        self._known[name] = (now + _REMEMBERED, catalog)
        self._known.move_to_end(name)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return catalog

    def forget(self, name: str) -> None:
        """Read a type again with the next event."""
        self._known.pop(name, None)


def declaration(stored: StoredEventType) -> EventType:
    """Return a stored type as a program would declare it."""
    return EventType(
        name=stored.name,
        schema=stored.schema,
        category=stored.category,
        purpose=stored.purpose,
        priority=stored.priority,
        description=stored.description,
        steps=stored.steps,
    )


def require_sound(stored: StoredEventType) -> None:
    """Refuse a type that could not be declared.

    Raises:
        InvalidInputError: With what is wrong.
    """
    try:
        EventCatalog([declaration(stored)])
    except ConfigurationError as error:
        raise InvalidInputError([str(error)]) from error
