"""Batches for the frequent verbs on PostgreSQL: values as the columns that ``postgres_statements.py`` reads.

Columns are made as columns, by what Python does in C for all rows at once: tuples for
each row, to be turned around, cost several times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, is_
from typing import Any

from ....models.delivery import FINAL_STATES, Attempt, NewDelivery
from ....models.event import StoredEvent
from ....ports import Record
from ...encoding.rows import EPOCH, MICRO, RANK, millionths

Column = Sequence[Any]

#: Rows of a batch from which on it is worth a statement of its own.
_MANY = 16
#: Statements of each kind besides the one in which all columns vary.  Every connection keeps them
#: prepared, with their plans, and has place for a hundred.
_SHAPES = 10

#: The columns of an attempt where there was none.
_NOT_TRIED = (None,) * 12


class Shapes:
    """Which columns of a batch vary, where the others are sent as one value: each answer is a statement.

    Args:
        keys: Columns that count as varying, as bits.
    """

    def __init__(self, keys: int = 1) -> None:
        self._keys = keys
        self._known: set[int] = set()

    def fit(self, columns: Sequence[Column]) -> tuple[int, list[Any]]:
        """Return which columns vary, as bits, and the columns with one value for each of the others."""
        varying = self._varying(columns)
        return varying, [column if varying >> bit & 1 else column[0] for bit, column in enumerate(columns)]

    def _varying(self, columns: Sequence[Column]) -> int:
        everything = (1 << len(columns)) - 1
        rows = len(columns[-1])
        if rows == 1 and len(columns[0]) == 1:
            return self._keys & everything
        if rows < _MANY:  # in a few rows much is equal by chance
            return everything
        varying = self._keys
        for bit, column in enumerate(columns):
            if not _is_uniform(column):
                varying |= 1 << bit
        if varying not in self._known:
            if len(self._known) >= _SHAPES:
                wider = [known for known in self._known if known & varying == varying]
                return min(wider, key=int.bit_count, default=everything)
            self._known.add(varying)
        return varying


def event_columns(events: Sequence[StoredEvent]) -> list[Column]:
    """Return the columns of events in the order of ``EVENT_COLUMNS``.

    Most events happen, and are due, as they are published: a column of instants that are all the same as
    ``published_at`` is empty.
    """
    columns: list[Column] = list(zip(*events, strict=True))
    occurred_at, published_at, due_at, expires_at, priority = columns[8:13]
    nothing = (None,) * len(events)
    columns[8:13] = (
        nothing if all(map(is_, occurred_at, published_at)) else _instants(occurred_at),
        _instants(published_at),
        nothing if all(map(is_, due_at, published_at)) else _instants(due_at),
        _instants(expires_at),
        _each(RANK.__getitem__, priority),
    )
    return columns


def planned_columns(planned: Sequence[tuple[NewDelivery, Record | None]], first: Sequence[bool]) -> list[Column]:
    """Return the columns of planned deliveries, each with the record that has ended it already.

    Args:
        first: Whether it is of an event that was taken for the first time.
    """
    columns: list[Column] = list(zip(*[new for new, _ in planned], strict=True))
    _, _, _, _, _, _, priority, states, reasons, due_at, expires_at, ordering_key, address, _ = columns
    records = [record for _, record in planned]
    if any(records):
        states = [state if record is None else record.state for state, record in zip(states, records, strict=True)]
        reasons = [reason if record is None else record.reason for reason, record in zip(reasons, records, strict=True)]
    number, *tried, _, response, worker, reference, account, cost = _attempts(
        [None if record is None else record.attempt for record in records]
    )
    columns[6:] = (
        _each(RANK.__getitem__, priority),
        _each(attrgetter("value"), states),
        reasons,
        _instants(due_at),
        _instants(expires_at),
        ordering_key,
        address,
        _each(FINAL_STATES.__contains__, states),
        first,
        number,
        _instants([None if record is None else record.at for record in records]),
        *tried,
        response,
        worker,
        reference,
        account,
        cost,
    )
    return columns


def record_columns(records: Sequence[Record]) -> list[Column]:
    """Return the columns of what became of claimed deliveries."""
    delivery_id, fence, states, reason, due_at, at, attempts, _, _ = zip(*records, strict=True)
    return [
        delivery_id,
        fence,
        _each(attrgetter("value"), states),
        reason,
        _instants(due_at),
        _instants(at),
        _each(FINAL_STATES.__contains__, states),
        *_attempts(attempts),
    ]


def _attempts(attempts: Sequence[Attempt | None]) -> list[Column]:
    """Return number, start, time taken, outcome, reason, status, time of the retry, answer, worker, and so on."""
    columns: list[Column]
    if not any(attempts):
        return [(None,) * len(attempts)] * len(_NOT_TRIED)
    columns = list(
        zip(*[_NOT_TRIED if attempt is None else attempt[1 : 1 + len(_NOT_TRIED)] for attempt in attempts], strict=True)
    )
    columns[1] = _instants(columns[1])
    columns[2] = [None if took is None else took // MICRO for took in columns[2]]
    columns[6] = _instants(columns[6])
    columns[7] = [response or None for response in columns[7]]
    columns[11] = [millionths(cost) for cost in columns[11]]
    return columns


def _instants(column: Column) -> Column:
    """Return instants as the microseconds since the epoch."""
    if _is_uniform(column):
        return (None if column[0] is None else (column[0] - EPOCH) // MICRO,) * len(column)
    return [None if instant is None else (instant - EPOCH) // MICRO for instant in column]


def _each(turned: Callable[[Any], Any], column: Column) -> Column:
    return (turned(column[0]),) * len(column) if _is_uniform(column) else list(map(turned, column))


def _is_uniform(column: Column) -> bool:
    # most columns that vary say so at their ends
    return bool(column[0] == column[-1]) and column.count(column[0]) == len(column)
