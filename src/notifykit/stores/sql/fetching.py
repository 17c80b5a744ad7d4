"""Rows of a query, also when the driver cannot read one of them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Executable, exc

from ..encoding.readable import DAMAGED, Garbled
from ..encoding.rows import Row


def fetch(connection: Connection, query: Executable) -> Sequence[Row]:
    """Return all rows of a query, even if the driver cannot read one of them.

    SQLite stores any value in any column, so the driver, or SQLAlchemy, may fail on one.
    """
    try:
        return connection.execute(query).mappings().all()
    except (*DAMAGED, exc.OperationalError) as error:
        if not is_damage(connection, error):
            raise
    with tolerant(connection.connection.driver_connection):
        result = connection.execute(query)
        names = list(result.keys())
        assert result.cursor is not None
        return [dict(zip(names, row, strict=True)) for row in result.cursor.fetchall()]


def is_damage(connection: Connection, error: Exception) -> bool:
    """Return whether a row cannot be read, while the database works; an error of SQLite itself has a code."""
    if connection.dialect.name != "sqlite":
        return False
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, UnicodeEncodeError):  # a value of the query, not of a row
        return False
    return isinstance(cause, DAMAGED) or (
        isinstance(cause, sqlite3.OperationalError) and not getattr(cause, "sqlite_errorcode", 0)
    )


def first(connection: Connection, query: Executable) -> Row | None:
    """Return the first row of a query, if there is one."""
    return next(iter(fetch(connection, query)), None)


@contextlib.contextmanager
def tolerant(db: Any) -> Iterator[None]:
    """Let an SQLite connection return texts that are not UTF-8, as :class:`Garbled`."""
    db.text_factory = _text
    try:
        yield
    finally:
        db.text_factory = str


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return Garbled(raw.decode(errors="replace"))
