"""The tables as MySQL and MariaDB have them: those of :mod:`..schema` with types, collations and indexes of their own.

Keys are ``VARCHAR`` with a collation that compares bytes, trailing spaces too.  An index may have 3,072 bytes, at four
for a character.  There are no partial indexes: where one makes sure that something is unique, or keeps a scan short, a
generated column stands in for its condition, which is NULL in the rows that the index would leave out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    Connection,
    Float,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    inspect,
)
from sqlalchemy.dialects import mysql

from .. import schema as s
from .connections import COLLATIONS

#: Characters of keys, where they may not have as many as an id (255).
_LENGTHS = {
    "tenant": 128,
    "types": 256,
    "topics": 256,
    "notifykit_subscription_index.subscription_id": 128,
    "last_reference": 512,
    "reference": 512,
}
_ID = 255
#: Alembic's, as in :mod:`..migrate`.
VERSION_TABLE = "notifykit_alembic"
#: Texts with an index.
_INDEXED = frozenset({"idempotency_key", "last_reference", "reference"})
#: By table: the generated columns, each with the type that it has and what it is made of.
_GENERATED: dict[str, dict[str, tuple[str | None, str]]] = {
    #: When a delivery is due that is not being sent.
    "notifykit_queue": {
        "waits_until": (None, "CASE WHEN state <> 'sending' THEN due_at END"),
        "sending_key": ("ordering_key", "CASE WHEN state = 'sending' THEN ordering_key END"),
    },
    "notifykit_digests": {"open_key": ("key", "CASE WHEN `open` THEN `key` END")},
}
#: Indexes with other columns than in :mod:`..schema`.
_COLUMNS = {
    "notifykit_queue_due": ("channel", "priority", "waits_until", "subscriber_id", "tenant"),
    "notifykit_queue_handed": ("channel", "priority", "handed", "due_at"),
    "notifykit_queue_head": ("subscriber_id", "sending_key"),
    "notifykit_digests_open": ("tenant", "open_key"),
    "notifykit_deliveries_failed": ("state", "tenant", "id"),
}
#: Indexes that another one with the same columns in front makes superfluous.
_NEEDLESS = frozenset(
    {"notifykit_queue_subscriber", "notifykit_inbox_archived", "notifykit_inbox_unseen", "notifykit_inbox_unread"}
)


@lru_cache
def metadata(*, is_mariadb: bool) -> MetaData:
    """Return the tables of one kind of server."""
    collation = COLLATIONS[is_mariadb]
    made = MetaData()
    for table in s.metadata.sorted_tables:
        columns: list[Column[Any]] = [_column(table, column, collation) for column in table.columns]
        kinds = {column.name: column.type for column in columns}
        columns += [
            Column(name, BigInteger if like is None else kinds[like], Computed(what, persisted=True))
            for name, (like, what) in _GENERATED.get(table.name, {}).items()
        ]
        copy = Table(
            table.name,
            made,
            *columns,
            mysql_engine="InnoDB",
            mysql_row_format="DYNAMIC",
            mysql_charset="utf8mb4",
            mysql_collate=collation,
            mariadb_engine="InnoDB",
            mariadb_row_format="DYNAMIC",
            mariadb_charset="utf8mb4",
            mariadb_collate=collation,
        )
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            if index.name not in _NEEDLESS:
                names = _COLUMNS.get(str(index.name)) or [column.name for column in index.columns]
                Index(str(index.name), *(copy.c[name] for name in names), unique=index.unique)
    Table(VERSION_TABLE, made, Column("version_num", String(32), primary_key=True))
    return made


def _column(table: Table, column: Column[Any], collation: str) -> Column[Any]:
    return Column(
        column.name,
        _type(table, column, collation),
        primary_key=column.primary_key,
        nullable=column.nullable,
        server_default=column.server_default,
        autoincrement=False,
    )


def _type(table: Table, column: Column[Any], collation: str) -> Any:
    if column.type is s.Key or column.name in _INDEXED:
        length = _LENGTHS.get(f"{table.name}.{column.name}") or _LENGTHS.get(column.name, _ID)
        return String(length, collation=collation)
    if isinstance(column.type, Text):
        return mysql.LONGTEXT(collation=collation)
    if isinstance(column.type, LargeBinary):
        return mysql.LONGBLOB()
    return mysql.DOUBLE() if isinstance(column.type, Float) else column.type


def create(connection: Connection) -> None:
    """Create the tables that are not there; of one whose making was interrupted, the indexes."""
    is_mariadb = bool(getattr(connection.dialect, "is_mariadb", False))
    present = {*inspect(connection).get_table_names()}
    for table in metadata(is_mariadb=is_mariadb).sorted_tables:
        table.create(connection, checkfirst=True)
        if table.name in present:
            for index in table.indexes:
                index.create(connection, checkfirst=True)
