"""Fixtures of the reliability scenarios: databases with tables, and a receiver."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.databases import new_database

from .processes import Receiver

#: Makes a database with tables, for as long as a ``with`` lasts, and yields its URL.
Databases = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def sqlite_databases(_sqlite_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Makes SQLite files."""
    folder = tmp_path_factory.mktemp("databases")
    numbers = count()

    @contextmanager
    def make() -> Iterator[str]:
        yield f"sqlite:///{shutil.copyfile(_sqlite_tables, folder / f'{next(numbers)}.db')}"

    return make


@pytest.fixture(scope="session")
def postgres_databases(postgres_url: str, postgres_empty_tables: str) -> Databases:
    """Makes databases on the PostgreSQL server that all tests share."""
    return lambda: new_database(postgres_url, template_url=postgres_empty_tables)


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Makes databases of each kind in turn."""
    made: Databases = request.getfixturevalue(f"{request.param}_databases")
    return made


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.soak)])
def one_databases(request: pytest.FixtureRequest) -> Databases:
    """The same for scenarios where the kind matters little: the everyday run uses one of them."""
    made: Databases = request.getfixturevalue(f"{request.param}_databases")
    return made


@pytest.fixture(scope="session")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """The receiver that all small scenarios share."""
    running = Receiver(tmp_path_factory.mktemp("receiver"))
    yield running
    running.kill()
