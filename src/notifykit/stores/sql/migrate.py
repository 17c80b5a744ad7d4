"""Schema versions: create, check and upgrade.

A fresh database gets all tables at once and is stamped with the newest version;
one with data in it is upgraded step by step by Alembic's scripts in ``migrations/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, func, inspect, select, text

from ...errors import NewerSchemaError, SchemaError, StoreUnavailableError
from ...failpoints import failpoint
from . import schema
from .writing import is_mysql

#: The newest script in ``migrations/versions``.
HEAD = "0020"
VERSION_TABLE = "notifykit_alembic"

#: Returns the version of tables that are there.
STAMP = f"SELECT max(version_num) FROM {VERSION_TABLE}"

#: As Alembic makes it.
_version = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)
#: The key of the lock that lets one process at a time change the schema; any number that no other program uses.
_LOCK = 0x6E6F746966796B74
#: Of one database of the server.
_MYSQL_LOCK = "SELECT GET_LOCK(MD5(CONCAT('notifykit ', DATABASE())), 600)"
_MYSQL_UNLOCK = "SELECT RELEASE_LOCK(MD5(CONCAT('notifykit ', DATABASE())))"


def version(connection: Connection) -> str | None:
    """Return the schema's version; ``None`` if the database has no notifykit tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(select(func.max(_version.c.version_num)))
    return found


def is_empty(connection: Connection) -> bool:
    """Tell whether the database has no notifykit tables yet."""
    return version(connection) is None


def check(connection: Connection, known: str = HEAD) -> None:
    """Raise :class:`SchemaError` unless the schema has the version this package needs."""
    found = version(connection)
    if found is None:
        raise SchemaError("the database has no notifykit tables; run: notifykit migrate")
    if found < known:
        raise SchemaError(f"the database has schema {found}, this version needs {known}; run: notifykit migrate")
    refuse_newer(found, known)


def stamp(connection: Connection) -> str | None:
    """Return what :func:`version` returns, of a database that has the tables, at the cost of one short query."""
    found: str | None = connection.exec_driver_sql(STAMP).scalar()
    return found


def refuse_newer(found: str | None, known: str) -> None:
    """Raise :class:`NewerSchemaError` if another process has migrated the tables beyond the version ``known``."""
    if found is not None and found > known:
        raise NewerSchemaError(found, known)


def create(connection: Connection) -> None:
    """Create all tables on ``connection`` and stamp the newest version; nothing if another process just did."""
    with _alone(connection):
        _create(connection)


def _create(connection: Connection) -> None:
    if not is_empty(connection):
        return
    if is_mysql(connection):
        from .mysql import tables

        tables.create(connection)
    else:
        schema.metadata.create_all(connection)
    failpoint("mig.half")
    if not is_mysql(connection):  # there it is made with the others, as the name of the key gives a warning
        _version.create(connection, checkfirst=True)
    connection.execute(_version.insert().values(version_num=HEAD))


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to ``revision`` with Alembic; a database without tables is built script by script.

    On MySQL, for which there was no store before schema 0017, the scripts begin there: it is created as it is now.
    """
    from alembic import command

    with _alone(connection):
        refuse_newer(version(connection), HEAD)  # of which Alembic would only say that it has no such script
        if is_mysql(connection):
            _create(connection)
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        failpoint("mig.half")


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Let other processes that change the schema wait; on SQLite the transaction itself is exclusive."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    if not is_mysql(connection):
        yield
        return
    # MySQL commits at each change of the schema, and the lock is the session's: it must outlive that.
    if not connection.exec_driver_sql(_MYSQL_LOCK).scalar():
        raise StoreUnavailableError("another process has been changing the tables for ten minutes")
    try:
        yield
    finally:
        connection.exec_driver_sql(_MYSQL_UNLOCK)


def alembic_config() -> Any:
    """Return an Alembic configuration that points at the scripts inside the package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("version_table", VERSION_TABLE)
    return config
