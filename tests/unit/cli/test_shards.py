"""Commands on a store of several databases: what is wrong is said before anything is stored."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from notifykit.stores.sql.health import Health, together
from tests.unit.cli.driving import Command


def test_a_shard_that_does_not_answer_is_told_by_stats(cli: Command, tmp_path: Path) -> None:
    """The counts are those of the others."""
    first = f"sharded://?a=sqlite:///{tmp_path / 'a.db'}&b="
    cli("migrate", "--url", f"{first}sqlite:///{tmp_path / 'b.db'}")
    whole = cli("stats", "--json", "--url", f"{first}sqlite:///{tmp_path / 'b.db'}")

    answer = cli("stats", "--json", "--url", f"{first}postgresql://app@127.0.0.1:1/app")
    read = cli("stats", "--url", f"{first}postgresql://app@127.0.0.1:1/app")

    assert "missing_shards" not in whole.record
    assert (0, ["b"]) == (answer.code, answer.record["missing_shards"])
    assert "these shards do not answer: b" in read.err


def test_one_database_is_no_two_shards(cli: Command, tmp_path: Path) -> None:
    """Not with the first command either, which gives the databases their names."""
    url = f"sharded://?a=sqlite:///{tmp_path / 'a.db'}&b=sqlite:///{tmp_path / 'a.db'}"
    cli("migrate", "--url", url)

    answer = cli("publish", "order.paid", "{}", "--url", url)

    assert 2 == answer.code
    assert "each for one database" in answer.err


def test_what_cannot_be_a_shard_is_refused(cli: Command) -> None:
    """Tenants cannot be moved to MySQL, so nothing may be stored there either."""
    answer = cli("migrate", "--url", "sharded://?a=mysql://root@127.0.0.1:1/a&b=mysql://root@127.0.0.1:1/b")

    assert 2 == answer.code
    assert "use SQLite or PostgreSQL" in answer.err


def test_the_state_of_all_databases_is_checked(cli: Command, tmp_path: Path) -> None:
    """An expired lease and dead letters count on whatever database they are."""
    url = f"sharded://?a=sqlite:///{tmp_path / 'a.db'}&b=sqlite:///{tmp_path / 'b.db'}"
    cli("migrate", "--url", url)

    found = {record["name"]: record["level"] for record in cli("check", "--json", "--url", url).records}
    worst = together([_health("acme", 1, skew=timedelta(seconds=1)), _health("globex", 2, skew=timedelta(seconds=-3))])

    assert ("ok", "ok") == (found["schema"], found["leases"])
    assert (3, timedelta(minutes=2), timedelta(seconds=-3)) == (worst.expired_leases, worst.oldest_expiry, worst.skew)
    assert {"globex": 2, "acme": 1} == worst.dead


def _health(tenant: str, count: int, *, skew: timedelta) -> Health:
    oldest = timedelta(minutes=count)
    return Health(version="0019", expired_leases=count, oldest_expiry=oldest, dead={tenant: count}, skew=skew)
