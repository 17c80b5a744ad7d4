"""A PostgreSQL store keeps the contract with its large tables partitioned as the guide says."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from notifykit.stores.sql.schema import metadata
from notifykit.testing.suites.store.claims import ClaimPromises
from notifykit.testing.suites.store.fixtures import StoreFixtures
from notifykit.testing.suites.store.operators import OperatorPromises
from notifykit.testing.suites.store.outbox import OutboxPromises
from notifykit.testing.suites.store.planning import PlanningPromises
from notifykit.testing.suites.store.purge import PurgePromises
from notifykit.testing.suites.store.receipts import ReceiptPromises
from notifykit.testing.suites.store.records import RecordPromises
from notifykit.testing.suites.store.sent import SentPromises
from notifykit.testing.suites.store.versions import VersionPromises
from tests.conformance.test_postgres_store import PostgresFixtures
from tests.databases import new_database
from tests.stores import create_tables, empty_tables

GUIDE = (Path(__file__).parents[2] / "docs/howto/scale-out.md").read_text()
(STATEMENTS,) = re.findall(r"```postgresql\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="session")
def partitioned_tables(postgres_url):
    """The URL of a database with tables that had a row in them before they were partitioned."""
    with new_database(postgres_url) as url:
        create_tables(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("INSERT INTO notifykit_inboxes VALUES ('acme', 'user:1', 1, 2)")
            connection.execute(STATEMENTS)
            kept = connection.execute("SELECT * FROM notifykit_inboxes").fetchall()
        assert [("acme", "user:1", 1, 2)] == kept
        yield url


def _relations(url):
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT partrelid::regclass::text FROM pg_partitioned_table").fetchall()
        indexes = connection.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid"
            " JOIN pg_class t ON t.oid = i.indrelid WHERE t.relname LIKE 'notifykit%' AND t.relispartition = false"
        ).fetchall()
    return {name for (name,) in tables}, {name for (name,) in indexes}


class PartitionedFixtures(PostgresFixtures):
    """A store for each test."""

    @pytest.fixture
    def postgres_store_url(self, partitioned_tables):
        empty_tables(partitioned_tables)
        return partitioned_tables


@pytest.mark.thorough
class TestPartitionedPostgres(
    PartitionedFixtures,
    OutboxPromises,
    PlanningPromises,
    SentPromises,
    ClaimPromises,
    RecordPromises,
    OperatorPromises,
    ReceiptPromises,
    PurgePromises,
    VersionPromises,
    StoreFixtures,
):
    """Every verb that reads or writes a partitioned table keeps its promises."""


@pytest.mark.thorough
def test_the_guide_partitions_what_it_names(partitioned_tables):
    """Every index has its name, so that later migrations find it, and a tenant is in one partition."""
    tables, indexes = _relations(partitioned_tables)

    named = {name for name in re.findall(r"'(notifykit_\w+)'", STATEMENTS) if name in metadata.tables}
    assert named == tables
    assert {index.name for table in named for index in metadata.tables[table].indexes} <= indexes
    assert {f"{table}_pkey" for table in named} <= indexes


def test_the_guide_names_every_key_without_the_tenant():
    """What a distributed PostgreSQL would need is said completely."""
    listed = dict(re.findall(r"^\| `(notifykit_\w+)` \| `([\w, ]+)` \|", GUIDE, re.MULTILINE))
    keys = {name: [column.name for column in table.primary_key] for name, table in metadata.tables.items()}

    assert {name: ", ".join(key) for name, key in keys.items() if "tenant" not in key} == listed
