"""Outbox batches: ordinary events that were stored together share a row of the outbox (see ADR 0017).

A row for each event would be written when it is stored, written again when it is
taken and deleted when it is settled; that was a fifth of what the server did for a
delivery.  A batch is taken as a whole, or as much of it as there is room for; then the
rest of it becomes a batch of its own.  A settlement of some of its events takes
these out of it, and the last one removes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from ...models.delivery import Priority
from ...ports import Settlement
from .postgres_driver import asyncpg
from .rows import RANK

#: As many events make a bundle, at the least.
FEWEST = 2
#: Events in a bundle, and bytes of their ids: it and its next version fit one page, so that taking it touches no index.
_MOST, _ROOM = 128, 3600
#: What an id in an array takes beside its characters, at the most.
_BESIDE = 8
#: Of how many events that were taken is kept in which bundle they are.
_KEPT = 50_000

#: The columns of rows which tell where an event is, from the end.
_BUNDLE = -2
_ID, _PLACE = itemgetter(0), itemgetter(_BUNDLE, -1)

_NORMAL = RANK[Priority.NORMAL]

APPEND = """
WITH e AS (
  INSERT INTO notifykit_events ({columns}) SELECT {values} FROM {events} AS given
), b AS (
  INSERT INTO notifykit_bundles (id, tenant, due_at, open, event_ids)
  SELECT part.ids[1], ${tenant}::text, ${due_at}::bigint, repeat('1', cardinality(part.ids))::bit(128), part.ids
  FROM unnest(${firsts}::int[]) AS first
  CROSS JOIN LATERAL (SELECT ($1::text[])[first : first + ${size}::int - 1] AS ids) AS part
)
SELECT {answer}
"""

#: All or nothing: it divides by zero unless each bundle has the fence, and has all of the events open.
SETTLE = """
WITH s AS MATERIALIZED (
  SELECT *, $1::bigint AS now
  FROM unnest((SELECT $2::text[]), (SELECT $3::int[]), (SELECT $4::bit(128)[])) AS s(id, fence, events)
), kept AS (
  UPDATE notifykit_bundles b SET open = b.open & ~s.events FROM s
  WHERE b.id = s.id AND {is_open} AND b.open <> s.events RETURNING b.tenant, b.due_at, b.fence
), emptied AS (
  DELETE FROM notifykit_bundles b USING s WHERE b.id = s.id AND {is_open} AND b.open = s.events
  RETURNING b.tenant, b.due_at, b.fence
), ok AS MATERIALIZED (
  SELECT * FROM kept UNION ALL SELECT * FROM emptied
){paged}{planned}
SELECT 1 / (count(*) = cardinality($2::text[]))::int FROM ok
"""
IS_OPEN = "b.fence = s.fence AND b.open & s.events = s.events"
#: The one event was planned in part: it goes on in a row of its own.
PAGED = """, paged AS (
  INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, fence, cursor)
  SELECT ${event_id}::text, tenant, 1, due_at, fence, ${cursor}::text FROM ok
)"""

#: In which bundles events are, and at which places.
FIND = """
SELECT m.event_id, b.id, m.place::int
FROM notifykit_bundles b CROSS JOIN LATERAL unnest(b.event_ids) WITH ORDINALITY AS m(event_id, place)
WHERE b.event_ids && $1::text[] AND m.event_id = ANY($1::text[]) AND get_bit(b.open, m.place::int - 1) = 1
"""

IS_PLANNED = """
SELECT NOT EXISTS (SELECT 1 FROM notifykit_outbox o WHERE o.tenant = $1 AND o.event_id = $2)
  AND NOT EXISTS (
    SELECT 1 FROM notifykit_bundles b CROSS JOIN LATERAL unnest(b.event_ids) WITH ORDINALITY AS m(event_id, place)
    WHERE b.tenant = $1 AND m.event_id = $2 AND get_bit(b.open, m.place::int - 1) = 1
  )
"""


def shared(columns: Sequence[Sequence[Any]]) -> tuple[str, int, int, Sequence[int]] | None:
    """Return what is told of events that make bundles.

    Args:
        columns: Those of events (see ``postgres_batches.event_columns``).

    Returns:
        The tenant, the instant from which they are due, the size of bundles and at which event each begins, from 1
        on; or nothing, if these events have rows of their own.
    """
    ids, tenants, *_ = columns
    published_at, due_at, _, priority, ordering_key = columns[9:14]
    count = len(ids)
    if (
        count < FEWEST
        or tenants.count(tenants[0]) < count
        or priority.count(_NORMAL) < count
        or due_at.count(None) < count
        or ordering_key.count(None) < count
    ):
        return None
    size = max(1, min(_MOST, _ROOM // (max(map(len, ids)) + _BESIDE)))
    return tenants[0], min(published_at), size, range(1, count + 1, size)


#: A bundle, and the place of an event there from 1 on.
MatchKey = tuple[str, int]


class Whereabouts:
    """Where the events are that were taken in bundles and are not settled yet.

    What is forgotten, or was taken elsewhere, can be looked up (see :data:`FIND`).

    Attributes:
        places: Of each event.
    """

    def __init__(self) -> None:
        self.places: dict[str, MatchKey] = {}

    def note(self, rows: Sequence[Sequence[Any]]) -> None:
        """Keep where events were found: rows of ids, bundles and places; without a bundle it has a row of its own."""
        places = self.places
        bundled = [row for row in rows if row[_BUNDLE] is not None]
        places.update(zip(map(_ID, bundled), map(_PLACE, bundled), strict=True))
        if places and len(bundled) < len(rows):  # some may have been in bundles, until a page of them was settled
            self.forget(row[0] for row in rows if row[_BUNDLE] is None)
        while len(places) > _KEPT:
            del places[next(iter(places))]

    def forget(self, event_ids: Iterable[str]) -> None:
        """Note that events are settled, or not ours any more."""
        for event_id in event_ids:
            self.places.pop(event_id, None)


def columns(settlements: Iterable[Settlement], places: Iterable[MatchKey]) -> list[Sequence[Any]]:
    """Return the bundles of events, their fences, and which of their events these are."""
    events: dict[tuple[str, int], int] = {}
    for settlement, (bundle, at) in zip(settlements, places, strict=True):
        key = bundle, settlement.fence
        events[key] = events.get(key, 0) | 1 << _MOST - at
    keys = sorted(events)  # two settlements that meet wait for each other in one order
    bundles, fences = zip(*keys, strict=True)
    return [bundles, fences, [asyncpg.BitString.from_int(events[key], _MOST) for key in keys]]
