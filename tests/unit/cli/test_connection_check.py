"""What ``notifykit check`` says of the way to a PostgreSQL server."""

from __future__ import annotations

from typing import Any

import pytest

from notifykit.cli.checks import connection
from notifykit.stores.sql.postgres.store import PostgresStore
from tests.pgbouncer import PgBouncer
from tests.unit.cli.driving import Command


def findings(cli: Command, url: str) -> tuple[int, dict[str, Any]]:
    """Run ``check`` on a store; return its exit code and its findings by name."""
    answer = cli("check", "--json", "--url", url)
    return answer.code, {record["name"]: record for record in answer.records}


def test_a_server_without_a_pooler_is_well(cli: Command, postgres_store_url: str) -> None:
    """Hints are sent and heard."""
    code, found = findings(cli, postgres_store_url)

    assert (0, "ok", "ok") == (code, found["pooler"]["level"], found["notifications"]["level"])
    assert "none" == found["pooler"]["found"]


def test_a_pooler_of_sessions_is_named(cli: Command, postgres_store_url: str, pgbouncer: PgBouncer) -> None:
    """With what it must have for each process; hints are heard."""
    code, found = findings(cli, pgbouncer.to("session"))

    assert (0, "note", "ok") == (code, found["pooler"]["level"], found["notifications"]["level"])
    assert "session pooling" in found["pooler"]["found"]


def test_a_pooler_of_transactions_is_named(cli: Command, postgres_store_url: str, pgbouncer: PgBouncer) -> None:
    """With what it costs, and what would be better."""
    code, found = findings(cli, pgbouncer.to("transaction"))

    assert (0, "note", "note") == (code, found["pooler"]["level"], found["notifications"]["level"])
    assert "transaction pooling" in found["pooler"]["found"]
    assert "?pooler=session" in found["pooler"]["remedy"]


@pytest.mark.parametrize("silent", [True, False])
def test_a_listener_that_hears_nothing_is_wrong(
    cli: Command, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """Because it cannot connect, or because nothing arrives."""

    async def refused(_: PostgresStore) -> None:
        raise OSError("no more connections for you")

    monkeypatch.setattr(connection, "_PATIENCE", 0.2)
    if silent:
        monkeypatch.setattr("notifykit.stores.sql.postgres.store._NOTIFY", "SELECT 1")
    else:
        monkeypatch.setattr(PostgresStore, "_separate_connection", refused)

    code, found = findings(cli, postgres_store_url)

    assert (1, "bad") == (code, found["notifications"]["level"])
    assert ("no NOTIFY was received" if silent else "no more connections") in found["notifications"]["found"]


def test_passwords_are_not_shown(cli: Command) -> None:
    """Of a URL with several hosts, or one that is none."""
    for url in (
        "postgresql://app:geheim@127.0.0.1:1,127.0.0.1:2/app",
        "postgresql://app:ge/heim@db/app",
        "app:geheim@db",
    ):
        answer = cli("check", "--url", url)

        assert "heim" not in answer.out + answer.err
