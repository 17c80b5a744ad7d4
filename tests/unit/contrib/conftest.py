"""Databases of a Django project, with notifykit's tables in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import django.apps
import django.conf
import pytest
from django.db import connections

from notifykit import Notifykit
from notifykit.stores.sql.upgrade import migrate
from tests.databases import new_database

if not django.conf.settings.configured:
    django.conf.settings.configure()
django.apps.apps.populate([])


@pytest.fixture(scope="session")
def postgres_template(postgres_url) -> Iterator[str]:
    """A database that has the tables."""
    with new_database(postgres_url) as url:
        asyncio.run(migrate(url))
        yield url


def mysql_settings(url: str) -> dict[str, object]:
    """Return what a Django project has of a MySQL database; the tests have another driver than Django asks for."""
    import pymysql

    pymysql.version_info = (2, 2, 1, "final", 0)
    pymysql.install_as_MySQLdb()
    parts = urlsplit(url)
    place = {"HOST": parts.hostname, "PORT": parts.port, "USER": parts.username, "NAME": parts.path[1:]}
    return {"ENGINE": "django.db.backends.mysql", **place}


@contextmanager
def django_database(alias: str, settings: Mapping[str, object]) -> Iterator[None]:
    """Let ``alias`` be a database of Django's for a while, as an entry in ``settings.DATABASES`` would."""
    known = connections.databases
    before = known.get(alias)
    known[alias] = connections.configure_settings({"default": {}, alias: settings})[alias]
    if any(connection.alias == alias for connection in connections.all(initialized_only=True)):
        del connections[alias]
    try:
        yield
    finally:
        connections[alias].close()
        del connections[alias]
        if before is None:
            del known[alias]
        else:
            known[alias] = before


@pytest.fixture(params=["sqlite", "postgres", pytest.param("mysql", marks=pytest.mark.thorough)])
def url(request, tmp_path) -> Iterator[str]:
    """The kit's URL of Django's default database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'shop.db'}"
        asyncio.run(migrate(url))
        settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "shop.db"}
    elif request.param == "mysql":
        url = request.getfixturevalue("mysql_database")
        asyncio.run(migrate(url))
        settings = mysql_settings(url)
    else:
        url = request.getfixturevalue("postgres_database")
        parts = urlsplit(url)
        settings = {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": parts.hostname,
            "PORT": parts.port,
            "USER": parts.username,
            "NAME": parts.path[1:],
        }
    with django_database("default", settings):
        with connections["default"].cursor() as cursor:
            cursor.execute("CREATE TABLE orders (id VARCHAR(20) PRIMARY KEY)")
        yield url


@pytest.fixture
def kit(url) -> Iterator[Notifykit]:
    """A kit on Django's database."""
    kit = Notifykit(url)
    # opened before the test's transaction begins: the first connection to a file needs it exclusively
    kit.blocking.stats()
    yield kit
    kit.close()
