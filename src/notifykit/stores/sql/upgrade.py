"""Run migrations against a store's URL."""

from __future__ import annotations

from sqlalchemy import Connection

from ...errors import ConfigurationError
from . import migrate as schema
from .database_url import backend_of


async def migrate(url: str, revision: str = "head") -> str:
    """Create or upgrade the tables behind ``url``; return the schema's version.

    Processes that do it at the same time wait for each other.

    Raises:
        ConfigurationError: The store is not in a database.
        StoreUnavailableError: The database does not answer.
    """

    def work(connection: Connection) -> str:
        schema.upgrade(connection, revision)
        return schema.version(connection) or "none"

    backend = backend_of(url)
    if backend == "sqlite":
        from .sqlite.store import SqliteStore

        return await SqliteStore(url).upgrade(work)
    if backend == "postgresql":
        from .postgres.store import PostgresStore

        return await PostgresStore(url).upgrade(work)
    if backend == "mysql":
        from .mysql.store import MysqlStore

        return await MysqlStore(url).upgrade(work)
    raise ConfigurationError(f"a {backend} store has no migrations")
