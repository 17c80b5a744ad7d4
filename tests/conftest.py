"""Fixtures that every test may use: the event loop, and a database of its own."""

from __future__ import annotations

import gc
import json
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfile
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings, strategies

from notifykit.native import is_compiled
from notifykit.testing.servers import PostgresServer, ServerUnavailableError
from tests import hanging, report
from tests.databases import new_database, new_mysql_database
from tests.everyday import chosen_day, is_everyday, left_to
from tests.pgbouncer import PgBouncer
from tests.services import is_required, running
from tests.stores import create_tables, delete_keys, empty_mysql_tables, empty_tables

settings.register_profile("everyday", max_examples=20, deadline=None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long text by its argument: a key that is made for one run would differ between the processes of a run."""
    return argname if isinstance(val, str) and len(val) > 80 else None


def pytest_configure(config: pytest.Config) -> None:
    """Try few random examples every day, however slow the machine is; CI tries what each test says."""
    hanging.open_stderr(config)
    if is_everyday():
        settings.load_profile("everyday")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Run every async test with anyio, and let SIGINT stop the processes that tests start.

    The setting of anyio for that, ``anyio_mode = "auto"``, is unknown to the oldest release we support.  A shell
    starts what it puts into the background with SIGINT ignored, and all child processes inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    session.add_marker("anyio")
    chosen_day(session.config.args)


@pytest.hookimpl(tryfirst=True)  # before marks are looked at
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests of what a compiled package cannot show, and mark what this run leaves to a longer one."""
    if day := chosen_day(config.args):
        _leave(items, day)
    if is_compiled():
        for item in items:
            if item.get_closest_marker("interpreted"):
                item.add_marker(pytest.mark.skip(reason="the package is compiled"))


def _leave(items: list[pytest.Item], day: str) -> None:
    """Mark what the everyday run of a day leaves to CI, and what CI leaves to the soak."""
    short = [item for item in items if not any(map(item.get_closest_marker, ("soak", "thorough")))]
    long = {item.nodeid for item in short if item.get_closest_marker("in_turn")}
    marks = left_to({item.nodeid for item in short}, long, day)
    for item in short:
        if mark := marks.get(item.nodeid):
            item.add_marker(mark)
        elif not is_everyday() and getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker("thorough")  # it ran with few examples


@settings(max_examples=1, database=None)
@given(strategies.none())
def use_hypothesis(_: None) -> None:
    """Try nothing."""


def pytest_collection_finish() -> None:
    """Let garbage collections pass over what is there to stay: thousands of tests."""
    use_hypothesis()  # it registers its source of random numbers, and warns if that has been frozen by then
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the figures that the tests noted; a worker of a parallel run passes them to the main process."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is None:
        report.write(session.config.rootpath / "reports")
    else:
        output["figures"] = json.dumps(report.noted())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the figures of a worker that has finished."""
    report.add(json.loads(getattr(node, "workeroutput", {}).get("figures", "{}")))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test, but not forever."""
    if item.get_closest_marker("soak"):
        return (yield)
    with hanging.ended(item):
        return (yield)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The loop of async tests; the database drivers support no other."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where stores on this machine keep their key for development: not in the user's home folder."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv("LOCALAPPDATA", str(folder))
        yield folder


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


@pytest.fixture(scope="session")
def pgbouncer(_postgres_tables: str) -> Iterator[PgBouncer]:
    """A pooler in front of the database of :func:`postgres_store_url`, with its usual settings."""
    with _skipped_without("pgbouncer"), PgBouncer(_postgres_tables) as pooler:
        yield pooler


@contextmanager
def _skipped_without(name: str) -> Iterator[None]:
    """Turn "this machine has no such server" into a skipped test, or a failed one where it is required."""
    try:
        yield
    except ServerUnavailableError as error:
        (pytest.fail if is_required(name) else pytest.skip)(f"needs {name}: {error}")


@pytest.fixture(scope="session")
def postgres_empty_tables(postgres_url: str) -> Iterator[str]:
    """The URL of a PostgreSQL database with the tables of a store that no test writes to: for copies."""
    with new_database(postgres_url) as url:
        create_tables(url)
        yield url


@pytest.fixture(scope="session")
def _postgres_tables(postgres_url: str) -> Iterator[str]:
    with new_database(postgres_url) as url:
        create_tables(url)
        yield url


@pytest.fixture
def postgres_store_url(_postgres_tables: str) -> str:
    """The URL of a PostgreSQL database with the tables of a store and nothing in them."""
    empty_tables(_postgres_tables)
    return _postgres_tables


@pytest.fixture(scope="session")
def _sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    create_tables(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_store_url(_sqlite_tables: Path, tmp_path: Path) -> str:
    """The URL of an SQLite file with the tables of a store and nothing in them."""
    return f"sqlite:///{copyfile(_sqlite_tables, tmp_path / 'store.db')}"


@pytest.fixture(scope="session")
def mysql_url() -> Iterator[str]:
    """The URL of a MySQL or MariaDB server that all tests share; its user may create databases."""
    with _skipped_without("mysql"), running("mysql") as url:
        yield url


@pytest.fixture
def mysql_database(mysql_url: str) -> Iterator[str]:
    """The URL of an empty MySQL database that the test has for itself."""
    with new_mysql_database(mysql_url) as url:
        yield url


@pytest.fixture(scope="session")
def _mysql_tables(mysql_url: str) -> Iterator[str]:
    with new_mysql_database(mysql_url) as url:
        create_tables(url)
        yield url


@pytest.fixture
def mysql_store_url(_mysql_tables: str) -> str:
    """The URL of a MySQL database with the tables of a store and nothing in them."""
    empty_mysql_tables(_mysql_tables)
    return _mysql_tables


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a Redis or Valkey server that all tests share."""
    with _skipped_without("redis"), running("redis") as url:
        yield url


@pytest.fixture
def redis_store_url(redis_url: str) -> Iterator[str]:
    """The URL of a Redis store with nothing in it, and that no other test uses."""
    prefix = f"test-{uuid4().hex}"
    yield f"{redis_url}?prefix={prefix}"
    delete_keys(redis_url, prefix)


@pytest.fixture(scope="session")
def kafka_url() -> Iterator[str]:
    """The URL of a server with Kafka's protocol that all tests share."""
    with _skipped_without("kafka"), running("kafka") as url:
        yield url


@pytest.fixture(scope="session")
def apache_kafka_url() -> Iterator[str]:
    """The URL of an Apache Kafka that all tests share."""
    with _skipped_without("apache-kafka"), running("apache-kafka") as url:
        yield url


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    """The URL of a NATS server with JetStream that all tests share."""
    with _skipped_without("nats"), running("nats") as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """The URL of a RabbitMQ server that all tests share."""
    with _skipped_without("rabbitmq"), running("rabbitmq") as url:
        yield url


@pytest.fixture(scope="session")
def aws_url() -> Iterator[str]:
    """The URL of what simulates Amazon SQS and SNS for all tests."""
    with _skipped_without("aws"), running("aws") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres", "mysql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with the tables of a store and nothing in them, of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_store_url")
    return url


@pytest.fixture(params=["sqlite", "postgres", "mysql", "redis"])
def any_store_url(request: pytest.FixtureRequest) -> str:
    """The URL of a durable store with nothing in it, of each kind in turn, for tests that ask only the store."""
    url: str = request.getfixturevalue(f"{request.param}_store_url")
    return url
