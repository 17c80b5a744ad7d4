"""Types of events that are stored and not declared by this program: what is published satisfies their schemas."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..catalog import EventCatalog, EventOfType
from ..errors import ConfigurationError, InvalidEventError, InvalidInputError
from ..models.event import Event, EventType
from ..models.event_type import ALL_TENANTS, StoredEventType

if TYPE_CHECKING:
    from ..catalog import DataCheck
    from ..kit import Notifykit

#: For how many seconds a type is not read again.
_REMEMBERED = 5.0
_MOST = 1_000


class _Known(NamedTuple):
    """A stored type, and the check of its schema."""

    event_type: EventType
    check: DataCheck | None


class StoredTypes:
    """Checks events by the schemas of stored types, and gives them their types' priority and category."""

    def __init__(self, kit: Notifykit) -> None:
        self._kit = kit
        self._known: OrderedDict[str, tuple[float, _Known | None]] = OrderedDict()

    async def typed(self, events: Sequence[Event], *, many: bool = False) -> list[object]:
        """Return events as they can be published, each with its type if that is stored.

        Args:
            many: Whether problems are told with the event's place.

        Raises:
            InvalidEventError: The data of some does not satisfy the schema of its type; with every problem found.
        """
        typed: list[object] = []
        problems: list[str] = []
        for at, event in enumerate(events):
            known = None if event.type in self._kit.catalog else await self._read(event.type)
            typed.append(event if known is None else EventOfType(event, known.event_type))
            if known is not None and known.check is not None:
                problems += [f"[{at}].{problem}" if many else problem for problem in known.check(event.data)]
        if problems:
            raise InvalidEventError(problems)
        return typed

    async def _read(self, name: str) -> _Known | None:
        now = time.monotonic()
        remembered = self._known.get(name)
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        known = None
        for found in await self._kit.store.get(StoredEventType, ALL_TENANTS, [name]):
            its = declaration(found)
            known = _Known(its, None if its.schema is None else EventCatalog([its]).check(its))
        self._known[name] = (now + _REMEMBERED, known)
        self._known.move_to_end(name)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return known

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
