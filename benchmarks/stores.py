"""A fresh database for each measurement, and plain queries of it."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from sqlalchemy import Engine, NullPool, create_engine, func, make_url, select, text

from notifykit.stores.sql import schema as s
from notifykit.testing.servers import PostgresServer

STORES = {"postgres": "PostgreSQL", "sqlite": "SQLite"}

#: A commit reaches the disk, as in production; the rest keeps checkpoints out of runs of some seconds.
POSTGRES = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "wal_init_zero": "off",  # a server that has run for a while recycles its log instead of making new files
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_compression": "off",
}


@attrs.frozen
class Database:
    """A store that is lent for a measurement.

    Attributes:
        pid: The database server; ``None`` where the work is done in the client (SQLite) or by a server of yours.
    """

    kind: str
    url: str
    pid: int | None = None

    def engine(self) -> Engine:
        """Return a synchronous engine that keeps no connection."""
        url = make_url(self.url)
        if url.get_backend_name() == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        return create_engine(url, poolclass=NullPool)


@contextmanager
def database(kind: str) -> Iterator[Database]:
    """Lend a fresh database.

    ``NOTIFYKIT_BENCH_POSTGRES_URL`` names a PostgreSQL database to use in place of a private server.
    """
    given = os.environ.get("NOTIFYKIT_BENCH_POSTGRES_URL")
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="notifykit-bench-") as folder:
            yield Database(kind, f"sqlite:///{folder}/bench.db")
    elif given:
        yield Database(kind, given)
    else:
        with PostgresServer(settings=POSTGRES) as server:
            pid = int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
            yield Database(kind, server.url, pid)


@contextmanager
def store(kind: str) -> Iterator[str]:
    """Lend the URL of a fresh store."""
    with database(kind) as lent:
        yield lent.url


def totals(lent: Database, since: int = 0) -> dict[str, int]:
    """Return how many deliveries ended in which state since an instant, and how many are open."""
    ended = select(s.deliveries.c.state, func.count()).where(s.deliveries.c.finished_at >= since)
    with lent.engine().connect() as connection:
        found = {row[0]: row[1] for row in connection.execute(ended.group_by(s.deliveries.c.state))}
        found["open"] = connection.scalar(select(func.count()).select_from(s.queue)) or 0
    return found


def version(kind: str) -> str:
    """Return which release of the database is measured."""
    if kind == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}"
    with database(kind) as lent, lent.engine().connect() as connection:
        return f"PostgreSQL {connection.scalar(text('SHOW server_version'))}"


def size_mb(lent: Database) -> float:
    """Return how much disk the database takes, in MB."""
    if lent.kind == "sqlite":
        return Path(make_url(lent.url).database or "").stat().st_size / 2**20
    with lent.engine().connect() as connection:
        return float(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0) / 2**20
