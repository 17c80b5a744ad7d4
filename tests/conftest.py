"""Fixtures that every test may use: the event loop, and a database of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from notifykit.testing.servers import PostgresServer, ServerUnavailableError
from tests.databases import new_database
from tests.services import is_required, running


def pytest_sessionstart(session: pytest.Session) -> None:
    """Hand every async test to anyio.

    Its own setting for that, ``anyio_mode = "auto"``, is unknown to the oldest release we support.
    """
    session.add_marker("anyio")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop of async tests; the database drivers know no other."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server that all tests share; its user may create databases."""
    with _skipped_without("postgres"), running("postgres") as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """The URL of the database that :func:`postgres_database` copies: an empty one.

    Override it where tests want their tables to be there: make them once in a database
    of :func:`tests.databases.new_database`, disconnect, and yield its URL.
    """
    with new_database(postgres_url) as url:
        yield url


@pytest.fixture
def postgres_database(postgres_url: str, postgres_template: str) -> Iterator[str]:
    """The URL of a database that the test has for itself."""
    with new_database(postgres_url, template_url=postgres_template) as url:
        yield url


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server that the test has for itself, and may crash."""
    with _skipped_without("postgres"), PostgresServer() as server:
        yield server


@contextmanager
def _skipped_without(name: str) -> Iterator[None]:
    """Turn "this machine has no such server" into a skipped test, or a failed one where it is required."""
    try:
        yield
    except ServerUnavailableError as error:
        (pytest.fail if is_required(name) else pytest.skip)(f"needs {name}: {error}")
