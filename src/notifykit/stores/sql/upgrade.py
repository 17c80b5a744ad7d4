"""Run migrations against a store's URL."""

from __future__ import annotations

from sqlalchemy import Connection, create_engine, make_url

from ...errors import ConfigurationError
from . import migrate as schema


async def migrate(url: str, revision: str = "head") -> str:
    """Create or upgrade the tables behind ``url``; return the schema's version."""
    backend = make_url(url).get_backend_name()
    if backend == "sqlite":
        engine = create_engine(url)
        with engine.begin() as connection:
            version = _upgrade(connection, revision)
        engine.dispose()
        return version
    if backend in {"postgresql", "postgres"}:
        from .postgres import PostgresStore

        store = PostgresStore(url)
        return await store.upgrade(lambda connection: _upgrade(connection, revision))
    raise ConfigurationError(f"a {backend} store has no migrations")


def _upgrade(connection: Connection, revision: str) -> str:
    schema.upgrade(connection, revision)
    return schema.version(connection) or "none"
