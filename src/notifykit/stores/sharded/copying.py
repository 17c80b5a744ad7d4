"""A tenant's rows, as they go from one database to another: everything apart from open work.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, insert, not_, or_, select, tuple_

from ..sql import schema as s

PAGE = 500
#: Rows that one statement names.
_AT_ONCE = 250

Key = tuple[Any, ...]
Row = dict[str, Any]

#: Those of which every row says whose it is.  ``attempts`` go with their deliveries.
TABLES = (
    s.endpoints,
    s.subscriptions,
    s.subscription_index,
    s.event_types,
    s.recipients,
    s.tenant_preferences,
    s.provider_accounts,
    s.suppressions,
    s.templates,
    s.api_keys,
    s.buckets,
    s.events,
    s.digests,
    s.digest_items,
    s.deliveries,
    s.parked,
    s.queue,
    s.receipts,
    s.inboxes,
    s.inbox_items,
)
#: Those whose rows are deliveries, which attempts belong to; of open ones only the attempts are copied here.
_DELIVERIES = {s.deliveries.name: "id", s.parked.name: "id", s.queue.name: "id"}
_OPEN = (s.parked.name, s.queue.name)


class Page(NamedTuple):
    """What a database has of a tenant between two keys of a table.

    Attributes:
        after: Behind this key; ``None`` for the beginning.
        upto: Up to this key; ``None`` for the end.
        attempts: Of the deliveries among the rows.
    """

    table: Table
    tenant: str
    after: Key | None
    upto: Key | None
    rows: list[Row]
    attempts: list[Row]


def read(connection: Connection, table: Table, tenant: str, after: Key | None) -> Page:
    """Return the next page of a table."""
    key = _key(table)
    query = select(table).where(_span(table, tenant, after, None)).order_by(*key).limit(PAGE)
    if table is s.events:
        # One that is not planned yet is open work: it goes when its row of the outbox is parked.  One that is published
        # here at the last moment must not be at the target, which would then take it for one that it has planned.
        query = query.where(_is_planned())
    rows = _rows(connection, query)
    upto = tuple(rows[-1][column.name] for column in key) if len(rows) == PAGE else None
    ids = [row["id"] for row in rows] if table.name in _DELIVERIES else []
    return Page(table, tenant, after, upto, rows, _attempts(connection, ids))


def merge(connection: Connection, page: Page) -> None:
    """Make a database have the same between the page's two keys as the database that the page was read from."""
    if page.table.name in _DELIVERIES:
        ids = {row["id"] for row in page.rows}
        if page.table.name not in _OPEN:
            ids |= {*connection.scalars(select(page.table.c.id).where(_span(*page[:4])))}
        here = _attempts(connection, sorted(ids))
        _replace(connection, s.attempts, here, page.attempts)
    if page.table.name not in _OPEN:
        here = _rows(connection, select(page.table).where(_span(*page[:4])))
        _replace(connection, page.table, here, page.rows)


def clear(connection: Connection, tenant: str) -> int:
    """Delete some of what a database has of a tenant, apart from its version; return how many rows."""
    for table in TABLES:
        query = select(*_key(table)).where(table.c.tenant == tenant).limit(PAGE)
        # What was published here at the last moment stays until it has been sent on.
        rows = _rows(connection, query.where(_is_planned()) if table is s.events else query)
        if rows:
            if table.name in _DELIVERIES:
                _delete(connection, s.attempts, _attempts(connection, [row["id"] for row in rows]))
            _delete(connection, table, rows)
            return len(rows)
    return 0


def _is_planned() -> ColumnElement[bool]:
    return not_(select(s.outbox.c.event_id).where(s.outbox.c.event_id == s.events.c.id).exists())


def _key(table: Table) -> list[Any]:
    return list(table.primary_key.columns)


def _span(table: Table, tenant: str, after: Key | None, upto: Key | None) -> ColumnElement[bool]:
    key = tuple_(*_key(table))
    bounds = [table.c.tenant == tenant]
    bounds += [] if after is None else [key > after]
    bounds += [] if upto is None else [key <= upto]
    return and_(*bounds)


def _rows(connection: Connection, query: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _attempts(connection: Connection, ids: Sequence[str]) -> list[Row]:
    found: list[Row] = []
    for at in range(0, len(ids), _AT_ONCE):
        some = s.attempts.c.delivery_id.in_(ids[at : at + _AT_ONCE])
        found += _rows(connection, select(s.attempts).where(some))
    return found


def _replace(connection: Connection, table: Table, here: Iterable[Row], wanted: Iterable[Row]) -> None:
    names = [column.name for column in _key(table)]
    old = {tuple(row[name] for name in names): row for row in here}
    new = {tuple(row[name] for name in names): row for row in wanted}
    _delete(connection, table, [row for key, row in old.items() if new.get(key) != row])
    added = [row for key, row in new.items() if old.get(key) != row]
    for at in range(0, len(added), _AT_ONCE):
        connection.execute(insert(table), added[at : at + _AT_ONCE])


def _delete(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    key = _key(table)
    for at in range(0, len(rows), _AT_ONCE):
        # Not a list of row values: SQLite would read the whole table for it.
        some = [and_(*(column == row[column.name] for column in key)) for row in rows[at : at + _AT_ONCE]]
        connection.execute(delete(table).where(or_(*some)))
