"""A database for one test, copied from a template: cheaper than making its tables again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql


@contextmanager
def new_database(server_url: str, *, template_url: str | None = None) -> Iterator[str]:
    """Create a database on the server, yield its URL, drop it at the end even if it is in use.

    Args:
        server_url: A database of the server; its user may create others.
        template_url: The database to copy; there may be no connection to it meanwhile.
    """
    name = f"notifykit_{uuid.uuid4().hex[:16]}"
    template = urlsplit(template_url).path[1:] if template_url else "template0"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(create)
    try:
        yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(drop)


@contextmanager
def new_mysql_database(server_url: str) -> Iterator[str]:
    """Create a database on a MySQL or MariaDB server, yield its URL, drop it at the end."""
    name = f"notifykit_{uuid.uuid4().hex[:16]}"
    with mysql_connection(server_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(server_url)._replace(path=f"/{name}").geturl()
        finally:
            cursor.execute(f"DROP DATABASE {name}")


@contextmanager
def mysql_connection(url: str) -> Iterator[Any]:
    """Yield a connection of PyMySQL that commits each statement."""
    import pymysql

    parts = urlsplit(url)
    connection = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        database=parts.path[1:],
        autocommit=True,
    )
    try:
        yield connection
    finally:
        connection.close()


#: The drivers that tests use beside the stores' own, and those that SQLAlchemy uses asynchronously.
SYNC_DRIVERS = {"mysql": "pymysql", "postgresql": "psycopg", "sqlite": "pysqlite"}
ASYNC_DRIVERS = {"mysql": "asyncmy", "postgresql": "asyncpg", "sqlite": "aiosqlite"}


def sync_url(url: str) -> str:
    """Return the URL of a store for a synchronous engine."""
    return _with_driver(url, SYNC_DRIVERS)


def async_url(url: str) -> str:
    """Return the URL of a store for an asynchronous engine."""
    return _with_driver(url, ASYNC_DRIVERS)


def _with_driver(url: str, drivers: Mapping[str, str]) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}+{drivers[scheme]}{separator}{rest}"
