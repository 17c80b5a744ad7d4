"""Schema versions: create, check and upgrade.

A fresh database gets all tables at once and is stamped with the newest version;
one with data in it is upgraded step by step by Alembic's scripts in ``migrations/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, func, inspect, select, text

from ...errors import NewerSchemaError, SchemaError
from ...failpoints import failpoint
from . import schema

#: The newest script in ``migrations/versions``.
HEAD = "0017"
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
    _wait_for_others(connection)
    if not is_empty(connection):
        return
    schema.metadata.create_all(connection)
    failpoint("mig.half")
    _version.create(connection, checkfirst=True)
    connection.execute(_version.insert().values(version_num=HEAD))


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to ``revision`` with Alembic; a database without tables is built script by script."""
    from alembic import command

    _wait_for_others(connection)
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    failpoint("mig.half")


def _wait_for_others(connection: Connection) -> None:
    # On SQLite the transaction itself is exclusive.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def alembic_config() -> Any:
    """Return an Alembic configuration that points at the scripts inside the package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("version_table", VERSION_TABLE)
    return config
