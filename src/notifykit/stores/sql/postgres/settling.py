"""Settles events on PostgreSQL: one statement, unless some of what was sent needs records of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from ....models.delivery import NewDelivery
from ....ports import Record, Settlement
from ...encoding.rows import with_records
from . import digests
from . import statements as sql
from .columns import Shapes, planned_columns
from .driver import asyncpg


class Terms(NamedTuple):
    """What is the same for all settlements of a call.

    Attributes:
        now: In microseconds since the epoch, as ``until``.
        until: When the lease of the deliveries ends that are settled as leased.
        worker: The holder of that lease.
        timeout: Seconds that a statement may take.
        record: Writes records that the statement of their event does not write.
    """

    now: int
    until: int
    worker: str
    timeout: float
    record: Callable[[Any, Sequence[Record]], Awaitable[Any]]


class Settling:
    """Writes settlements."""

    def __init__(self) -> None:
        self._events, self._plans = Shapes(), Shapes(keys=0b1001)

    async def settle(self, pg: Any, settlements: Sequence[Settlement], terms: Terms) -> set[str]:
        """Settle events; return which."""
        planned: list[tuple[NewDelivery, Record | None]] = []
        first: list[bool] = []
        rest: dict[str, list[Record]] = {}
        collected: dict[str, tuple[int, list[NewDelivery]]] = {}
        for settlement in settlements:
            deliveries, left = with_records(settlement)
            if waiting := [new for new, _ in deliveries if new.digest is not None]:
                collected[settlement.event_id] = settlement.fence, waiting
                deliveries = [each for each in deliveries if each[0].digest is None]
            planned += deliveries
            first += [settlement.fence == 1] * len(deliveries)
            if left:
                rest[settlement.event_id] = left
        event_ids, fences, _, cursors, _ = zip(*settlements, strict=True)
        statement = _Statement(self, [event_ids, fences, cursors], planned, first, terms)
        if not rest and not collected:
            with contextlib.suppress(asyncpg.UniqueViolationError):
                return await statement.run(pg, careful=False)
            return await statement.run(pg, careful=True)
        async with pg.transaction():
            settled = await statement.run(pg, careful=True)
            await terms.record(pg, [record for id_ in settled for record in rest.get(id_, ())])
            await _collect(pg, [collected[id_] for id_ in settled if id_ in collected], terms)
        return settled

    def fit(self, events: Sequence[Sequence[Any]], deliveries: Sequence[Sequence[Any]]) -> tuple[int, list[Any]]:
        """Return which columns vary, and the columns as they are sent (see :class:`Shapes`)."""
        return self._plans.fit([*events, *deliveries]) if deliveries else self._events.fit(events)


async def _collect(pg: Any, collected: Sequence[tuple[int, list[NewDelivery]]], terms: Terms) -> None:
    """Have digests collect the deliveries of events that are settled, unless an earlier page has made them."""
    again = [new for fence, deliveries in collected if fence > 1 for new in deliveries]
    known = await digests.known(pg, again, terms.timeout) if again else ()
    new = [new for _, deliveries in collected for new in deliveries if new.id not in known]
    if new:
        await digests.join(pg, new, terms.now, terms.timeout)


class _Statement:
    """The statement that settles a batch, in both of its forms (see :func:`.statements.settle`)."""

    def __init__(
        self,
        shapes: Settling,
        events: Sequence[Sequence[Any]],
        planned: Sequence[tuple[NewDelivery, Record | None]],
        first: Sequence[bool],
        terms: Terms,
    ) -> None:
        deliveries = planned_columns(planned, first) if planned else []
        self._planned = sql.Planned.of(deliveries) if planned else None
        self._varying, self._values = shapes.fit(events, deliveries)
        if planned:
            self._values[len(events) : len(events)] = [terms.until, terms.worker]
        self._terms = terms

    async def run(self, pg: Any, *, careful: bool) -> set[str]:
        """Settle the events; carefully if a delivery may be there already."""
        statement = sql.settle(self._varying, self._planned, careful=careful)
        rows = await pg.fetch(statement, self._terms.now, *self._values, timeout=self._terms.timeout)
        return {row["event_id"] for row in rows}
