"""Schema versions: create, check and upgrade.

A fresh database gets all tables at once and is stamped with the newest version;
one with data in it is upgraded step by step by Alembic's scripts in ``migrations/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, MetaData, Table, Text, func, inspect, select

from ...errors import SchemaError
from . import schema

#: The newest script in ``migrations/versions``.
HEAD = "0001"
VERSION_TABLE = "notifykit_alembic"

_version = Table(VERSION_TABLE, MetaData(), Column("version_num", Text, primary_key=True))


def version(connection: Connection) -> str | None:
    """Return the schema's version; ``None`` if the database has no notifykit tables."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(select(func.max(_version.c.version_num)))
    return found


def is_empty(connection: Connection) -> bool:
    """Tell whether the database has no notifykit tables yet."""
    return version(connection) is None


def check(connection: Connection) -> None:
    """Raise :class:`SchemaError` unless the schema has the version this package needs."""
    found = version(connection)
    if found is None:
        raise SchemaError("the database has no notifykit tables; run: notifykit migrate")
    if found < HEAD:
        raise SchemaError(f"the database has schema {found}, this version needs {HEAD}; run: notifykit migrate")
    if found > HEAD:
        raise SchemaError(f"the database has schema {found}, newer than {HEAD}: upgrade notifykit on this host")


def create_all(engine: Engine) -> None:
    """Create all tables of a database that has none, in one transaction, and stamp it."""
    with engine.connect().execution_options(notifykit_write=True) as connection, connection.begin():
        create(connection)


def create(connection: Connection) -> None:
    """Create all tables on ``connection`` and stamp the newest version; nothing if another process just did."""
    if not is_empty(connection):
        return
    schema.metadata.create_all(connection)
    _version.create(connection)
    connection.execute(_version.insert().values(version_num=HEAD))


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema to ``revision`` with Alembic; a database without tables is built script by script."""
    from alembic import command

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def alembic_config() -> Any:
    """Return an Alembic configuration that points at the scripts inside the package."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("version_table", VERSION_TABLE)
    return config
