"""A fresh database for each measurement, and plain queries of it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from sqlalchemy import Engine, NullPool, create_engine, func, make_url, select, text

from notifykit.models.delivery import FINAL_STATES
from notifykit.ports import DeliveryFilter
from notifykit.stores import store_from_url
from notifykit.stores.encoding.rows import micros
from notifykit.stores.sql import schema as s
from notifykit.testing.mysql_servers import MariadbServer
from notifykit.testing.servers import PostgresServer, ValkeyServer

from .roles import TENANT

STORES = {"postgres": "PostgreSQL", "sqlite": "SQLite", "redis": "Redis", "mysql": "MariaDB"}

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


#: The same of MariaDB; its log is as large as that of PostgreSQL, so that pages are written in the background.
MYSQL: Mapping[str, str | int] = {"innodb_buffer_pool_size": "512M", "innodb_log_file_size": "4G"}

#: Written to the disk once a second, as most have it: a power cut takes what was acknowledged in the last second.  To
#: rewrite that file is the same as a checkpoint.
REDIS: Mapping[str, str | int] = {"appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-min-size": "4gb"}


_MYSQL_SIZE = "SELECT SUM(file_size) FROM information_schema.innodb_sys_tablespaces"


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
        if self.kind == "redis":
            raise RuntimeError("this part reads and fills tables, which Redis does not have: leave out --store redis")
        url = make_url(self.url)
        if url.get_backend_name() == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        if self.kind == "mysql":
            url = url.set(drivername="mysql+pymysql")
        return create_engine(url, poolclass=NullPool)


@contextmanager
def database(kind: str) -> Iterator[Database]:
    """Lend a fresh database.

    ``NOTIFYKIT_BENCH_POSTGRES_URL`` names a PostgreSQL database to use in place of a private server.
    """
    if kind == "redis":
        with ValkeyServer(settings=REDIS) as server:
            yield Database(kind, server.url, redis_info(server.url)["process_id"])
        return
    if kind == "mysql":
        with MariadbServer(fsync=True, settings=MYSQL) as server:
            yield Database(kind, server.url, int((server.folder / "pid").read_text()))
        return
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
    if lent.kind == "redis":
        return asyncio.run(_totals_in_redis(lent.url, TENANT, since))
    ended = select(s.deliveries.c.state, func.count()).where(s.deliveries.c.finished_at >= since)
    with lent.engine().connect() as connection:
        found = {row[0]: row[1] for row in connection.execute(ended.group_by(s.deliveries.c.state))}
        found["open"] = connection.scalar(select(func.count()).select_from(s.queue)) or 0
    return found


async def _totals_in_redis(url: str, tenant: str, since: int) -> dict[str, int]:
    store = store_from_url(url)
    await store.open()
    try:
        stats = await store.stats(now=datetime.now(UTC))
        found = Counter({"open": stats.waiting + stats.sending})
        wanted, before = DeliveryFilter(states=FINAL_STATES), None
        while page := await store.find_deliveries(tenant, wanted, limit=2000, before=before):
            found.update(each.state.value for each in page if each.finished_at and micros(each.finished_at) >= since)
            before = page[-1].id
    finally:
        await store.aclose()
    return dict(found)


def redis_info(url: str) -> dict[str, Any]:
    """Return what a Redis server says of itself."""
    import redis

    with redis.from_url(url) as client:
        return dict(client.info())


def version(kind: str) -> str:
    """Return which release of the database is measured."""
    if kind == "sqlite":
        return f"SQLite {sqlite3.sqlite_version}"
    if kind == "redis":
        with database(kind) as lent:
            info = redis_info(lent.url)
            return f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    with database(kind) as lent, lent.engine().connect() as connection:
        if kind == "mysql":
            return f"MariaDB {str(connection.scalar(text('SELECT VERSION()'))).partition('-')[0]}"
        return f"PostgreSQL {connection.scalar(text('SHOW server_version'))}"


def size_mb(lent: Database) -> float:
    """Return how much disk the database takes, in MB."""
    if lent.kind == "sqlite":
        return Path(make_url(lent.url).database or "").stat().st_size / 2**20
    if lent.kind == "redis":
        return float(redis_info(lent.url)["used_memory"]) / 2**20
    with lent.engine().connect() as connection:
        if lent.kind == "mysql":
            return float(connection.scalar(text(_MYSQL_SIZE)) or 0) / 2**20
        return float(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0) / 2**20
