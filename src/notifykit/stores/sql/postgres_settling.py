"""Settles events on PostgreSQL: those with rows of their own in the outbox, and those in bundles."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from ...models.delivery import NewDelivery
from ...ports import Record, Settlement
from . import postgres_outbox_batches as bundles
from . import postgres_statements as sql
from .postgres_batches import Shapes, planned_columns
from .postgres_driver import asyncpg
from .rows import with_records

_EVENT_ID, _CURSOR = attrgetter("event_id"), attrgetter("cursor")


class Terms(NamedTuple):
    """What is the same for all settlements of a call.

    Attributes:
        now: In microseconds since the epoch, as ``until``.
        until: When the lease of what is settled as leased ends.
        worker: Whose lease it is.
        timeout: Seconds that a statement may take.
        record: Writes records that the statement of their event does not write.
    """

    now: int
    until: int
    worker: str
    timeout: float
    record: Callable[[Any, Sequence[Record]], Awaitable[Any]]


class Settling:
    """Writes settlements, and knows in which bundles events are."""

    def __init__(self) -> None:
        self.whereabouts = bundles.Whereabouts()
        self._events, self._plans, self._bundled = Shapes(), Shapes(keys=0b1001), Shapes()

    async def settle(self, pg: Any, settlements: Sequence[Settlement], terms: Terms) -> set[str]:
        """Settle events; return which."""
        places = self.whereabouts.places
        settled = await self._settle(pg, settlements, terms)
        lost = [one.event_id for one in settlements if one.event_id not in settled]
        unknown = [event_id for event_id in lost if event_id not in places]
        if places:
            self.whereabouts.forget([*settled, *lost])
        found = await pg.fetch(bundles.FIND, unknown, timeout=terms.timeout) if unknown else []
        if found:  # others have taken them, or it was long ago
            self.whereabouts.note(found)
            settled |= await self.settle(pg, [one for one in settlements if one.event_id in places], terms)
        return settled

    async def _settle(self, pg: Any, settlements: Sequence[Settlement], terms: Terms) -> set[str]:
        groups = self._groups(settlements)
        if len(groups) == 1 and not groups[0].rest:
            return await self._write(pg, groups[0], terms, careful=False)
        settled: set[str] = set()
        async with pg.transaction():
            for group in groups:
                written = await self._write(pg, group, terms, careful=True)
                await terms.record(pg, [record for id_ in written for record in group.rest.get(id_, ())])
                settled |= written
        return settled

    def _groups(self, settlements: Sequence[Settlement]) -> list[_Group]:
        """Return what one statement can settle: all in bundles or none, and what leaves one for a row by itself."""
        places = list(map(self.whereabouts.places.get, map(_EVENT_ID, settlements)))
        if not any(places):
            return [_group(settlements)]
        if all(places) and not any(map(_CURSOR, settlements)):
            return [_group(settlements, places)]
        given = list(zip(settlements, places, strict=True))
        alone = [one for one, place in given if place is None]
        whole = [(one, place) for one, place in given if place is not None and one.cursor is None]
        paged = [(one, place) for one, place in given if place is not None and one.cursor is not None]
        return [
            *([_group(alone)] if alone else ()),
            *([_group(*zip(*whole, strict=True))] if whole else ()),
            *(_group([one], [place]) for one, place in paged),
        ]

    async def _write(self, pg: Any, group: _Group, terms: Terms, *, careful: bool) -> set[str]:
        """Run the statement for a group; carefully if there is something already."""
        run = self._write_bundled if group.places else self._write_alone
        if not careful:
            with contextlib.suppress(asyncpg.UniqueViolationError):
                return await run(pg, group, terms, careful=False)
        return await run(pg, group, terms, careful=True)

    async def _write_alone(self, pg: Any, group: _Group, terms: Terms, *, careful: bool) -> set[str]:
        event_ids, fences, _, cursors, _ = zip(*group.settlements, strict=True)
        columns = [event_ids, fences, cursors]
        planned = None
        if group.planned:
            deliveries = planned_columns(group.planned, group.first)
            planned = sql.Planned.of(deliveries)
            varying, values = self._plans.fit([*columns, *deliveries])
            values[3:3] = [terms.until, terms.worker]
        else:
            varying, values = self._events.fit(columns)
        statement = sql.settle(varying, planned, careful=careful)
        return {row[0] for row in await pg.fetch(statement, terms.now, *values, timeout=terms.timeout)}

    async def _write_bundled(self, pg: Any, group: _Group, terms: Terms, *, careful: bool) -> set[str]:
        values: list[Any] = [terms.now, *bundles.columns(group.settlements, group.places)]
        varying, planned = 0, None
        if group.planned:
            deliveries = planned_columns(group.planned, group.first)
            planned = sql.Planned.of(deliveries)
            varying, columns = self._bundled.fit(deliveries)
            values += [terms.until, terms.worker, *columns]
        one = group.settlements[0]
        if one.cursor is not None:
            values += [one.event_id, one.cursor]
        statement = sql.settle_bundled(varying, planned, careful=careful, paged=one.cursor is not None)
        try:
            async with pg.transaction() if pg.is_in_transaction() else contextlib.nullcontext():
                await pg.execute(statement, *values, timeout=terms.timeout)
        except asyncpg.DivisionByZeroError:
            return await self._write_halves(pg, group, terms, careful=careful)
        return {one.event_id for one in group.settlements}

    async def _write_halves(self, pg: Any, group: _Group, terms: Terms, *, careful: bool) -> set[str]:
        """Settle what can be of a group of which something is not ours any more."""
        middle = len(group.settlements) // 2
        if not middle:
            return set()
        settled: set[str] = set()
        for half in slice(middle), slice(middle, None):
            part = _group(group.settlements[half], group.places[half])
            settled |= await self._write(pg, part, terms, careful=careful)
        return settled


class _Group(NamedTuple):
    """What one statement settles.

    Attributes:
        places: Where the events are in bundles; empty if they have rows of their own.
        planned: Deliveries, each with the record that has ended it already.
        first: Whether each is of an event that was taken for the first time.
        rest: Records that the statement does not write, by event.
    """

    settlements: Sequence[Settlement]
    places: Sequence[bundles.MatchKey]
    planned: Sequence[tuple[NewDelivery, Record | None]]
    first: Sequence[bool]
    rest: Mapping[str, Sequence[Record]]


def _group(settlements: Sequence[Settlement], places: Sequence[Any] = ()) -> _Group:
    planned: list[tuple[NewDelivery, Record | None]] = []
    first: list[bool] = []
    rest: dict[str, list[Record]] = {}
    for settlement in settlements:
        deliveries, left = with_records(settlement)
        planned += deliveries
        first += [settlement.fence == 1] * len(deliveries)
        if left:
            rest[settlement.event_id] = left
    return _Group(settlements, places, planned, first, rest)
