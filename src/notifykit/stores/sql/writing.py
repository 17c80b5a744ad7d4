"""Statements that write, where databases differ: what is inserted or replaced, and rows that a statement returns.

MySQL has no ``RETURNING``: there the rows are locked and read first, and are found again by their primary key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Table, and_, delete, exc, select, update
from sqlalchemy.dialects import mysql, postgresql, sqlite

Values = Mapping[str, Any]

#: The name of the dialect depends on whether an URL says MySQL or MariaDB.
_MYSQL = frozenset({"mysql", "mariadb"})
#: Rows that one statement names.
_AT_ONCE = 500


def is_mysql(connection: Connection) -> bool:
    """Return whether the database is MySQL or MariaDB."""
    return connection.dialect.name in _MYSQL


def insert_new(connection: Connection, table: Table, values: Values) -> bool:
    """Insert a row unless there is one with its key; return whether it was inserted."""
    if is_mysql(connection):  # an error undoes that statement alone, and the count would not tell
        try:
            connection.execute(mysql.insert(table).values(values))
        except exc.IntegrityError as error:
            if not is_duplicate(error):
                raise
            return False
        return True
    return connection.execute(_insert(connection, table).values(values).on_conflict_do_nothing()).rowcount > 0


def insert_new_rows(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Insert those of the rows whose keys are new."""
    if is_mysql(connection):
        key = next(iter(table.primary_key))
        connection.execute(mysql.insert(table).on_duplicate_key_update({key.name: key}), rows)
    else:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def upsert(
    connection: Connection, table: Table, rows: Sequence[Values], changes: Callable[[Any], Mapping[str, Any]]
) -> None:
    """Insert rows, and change those whose primary key is there already.

    Args:
        changes: Returns the columns that change, given the columns of the row that would have been inserted.  MySQL
            sets them one after the other: a column that decides about others comes last.
    """
    insert: Any
    if is_mysql(connection):
        insert = mysql.insert(table)
        connection.execute(insert.on_duplicate_key_update(list(changes(insert.inserted).items())), rows)
        return
    insert = _insert(connection, table)
    key = [*table.primary_key]
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changes(insert.excluded)), rows)


def save_versions(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> set[str]:
    """Insert or replace records of one tenant; return the ids of those that no other process has saved since.

    Args:
        rows: With their new versions; those of records that are there already are locked.
    """
    columns = [column.name for column in table.c if not column.primary_key]
    if is_mysql(connection):
        known = [row for row in rows if row["version"] > 1]
        if known:
            upsert(connection, table, known, lambda new: {name: new[name] for name in columns})
        return {row["id"] for row in known} | _new_ids(connection, table, [row for row in rows if row["version"] == 1])
    insert: Any = _insert(connection, table)
    statement = insert.on_conflict_do_update(
        index_elements=[*table.primary_key],
        set_={name: insert.excluded[name] for name in columns},
        where=table.c.version == insert.excluded.version - 1,  # another process may have inserted it since
    )
    return {*connection.execute(statement.returning(table.c.id), rows).scalars()}


def _new_ids(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> set[str]:
    if not rows:
        return set()
    try:
        with connection.begin_nested():
            connection.execute(mysql.insert(table), rows)
    except exc.IntegrityError as error:
        if not is_duplicate(error):
            raise
        return {row["id"] for row in rows if insert_new(connection, table, row)}
    return {row["id"] for row in rows}


def delete_returning(connection: Connection, table: Table, where: ColumnElement[bool]) -> Sequence[RowMapping]:
    """Delete rows and return them."""
    if not is_mysql(connection):
        return connection.execute(delete(table).where(where).returning(table)).mappings().all()
    rows = connection.execute(select(table).where(where).with_for_update()).mappings().all()
    for these in _by_key(table, rows):
        connection.execute(delete(table).where(these))
    return rows


def update_returning(
    connection: Connection,
    table: Table,
    where: ColumnElement[bool],
    values: Values,
    columns: Sequence[ColumnElement[Any]],
) -> Sequence[RowMapping]:
    """Change rows and return columns of them; they must be locked, and each stays the one that ``where`` chose."""
    if not is_mysql(connection):
        change = update(table).where(where).values(values).returning(*columns)
        return connection.execute(change).mappings().all()
    rows = connection.execute(select(table).where(where)).mappings().all()
    changed: list[RowMapping] = []
    for these in _by_key(table, rows):
        connection.execute(update(table).where(these).values(values))
        changed += connection.execute(select(*columns).where(these)).mappings()
    return changed


def is_duplicate(error: exc.DBAPIError) -> bool:
    """Return whether an error of MySQL says that a key is there already."""
    cause: Any = error.orig
    return (getattr(cause, "errno", None) or (cause.args[:1] or (0,))[0]) == 1062


def _by_key(table: Table, rows: Sequence[RowMapping]) -> list[ColumnElement[bool]]:
    """Return conditions for rows by their primary key and, as everywhere, by their tenant."""
    *first, last = table.primary_key
    if "tenant" in table.c and table.c.tenant not in first:
        first.insert(0, table.c.tenant)
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column.name] for column in first), []).append(row[last.name])
    return [
        and_(*(column == value for column, value in zip(first, key, strict=True)), last.in_(values[at : at + _AT_ONCE]))
        for key, values in groups.items()
        for at in range(0, len(values), _AT_ONCE)
    ]


def _insert(connection: Connection, table: Table) -> Any:
    return (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)
