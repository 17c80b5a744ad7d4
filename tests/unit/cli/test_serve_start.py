"""``notifykit serve`` that cannot start: one line says why, with the exit code of any other command."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

import pytest

from tests.unit.cli.driving import Command


@pytest.mark.parametrize(
    ("variable", "value", "code", "said"),
    [
        ("NOTIFYKIT_URL", "redis://127.0.0.1:1", 4, "not available"),
        ("NOTIFYKIT_URL", "postgresql://app@127.0.0.1:1/app", 4, "not available"),
        ("NOTIFYKIT_ENV", "production", 2, "notifykit keys generate"),
        ("NOTIFYKIT_KEYS", "bogus", 2, "NOTIFYKIT_KEYS, entry 1"),
        ("NOTIFYKIT_CHANNELS", "toyx://", 2, "no channel for 'toyx'"),
        ("NOTIFYKIT_BROKER", "toyx://", 2, "no broker for 'toyx'"),
        ("NOTIFYKIT_TENANT", "a b", 1, "tenant: must be"),
    ],
)
def test_one_line_says_why(
    cli: Command, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, code: int, said: str
) -> None:
    """Whether it is the store, the keys, or what stands in the environment."""
    monkeypatch.setenv(variable, value)

    answer = cli("serve", "--port", "0")

    assert code == answer.code
    assert said in answer.err.splitlines()[-1]
    assert "Traceback" not in answer.err


def test_tables_of_another_version_are_told(cli: Command, tmp_path: Path) -> None:
    """As by every other command, ``migrate`` among them."""
    cli("migrate")
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute("UPDATE notifykit_alembic SET version_num = '0099'")
    db.close()

    answers = [cli(*command) for command in (("serve", "--port", "0"), ("migrate",), ("stats",))]

    assert [5, 5, 5] == [answer.code for answer in answers]
    assert all("newer than" in answer.err and "Traceback" not in answer.err for answer in answers)


def test_an_address_that_is_taken_is_told(cli: Command) -> None:
    """In the words of ``listen``."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answers = [cli(command, "--port", str(port)) for command in ("serve", "listen")]
    nowhere = cli("serve", "--port", "0", "--host", "no.such.invalid")

    assert [1, 1, 1] == [answer.code for answer in (*answers, nowhere)]
    assert len({answer.err.splitlines()[-1] for answer in answers}) == 1
    assert "cannot listen on 127.0.0.1" in answers[0].err
    assert nowhere.err.splitlines()[-1].startswith("notifykit: cannot listen on no.such.invalid:0: ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--origin", "foo"), "origins: 'foo' is not a site"),
        (("--origin", "https://shop.example/"), "is not a site"),
        (("--proxy", "foo"), "--proxy: 'foo' is not an address"),
    ],
)
def test_an_option_that_can_have_no_effect_is_refused(cli: Command, options: tuple[str, str], said: str) -> None:
    """No browser sends such an origin, and no connection comes from such an address."""
    answer = cli("serve", "--port", "0", *options)

    assert 2 == answer.code
    assert said in answer.err


def test_commands_that_only_read_create_no_shard(cli: Command, tmp_path: Path) -> None:
    """As they create no other file."""
    url = f"sharded://?a=sqlite:///{tmp_path / 'a.db'}&b=sqlite:///{tmp_path / 'b.db'}"

    before = cli("stats", "--url", url)
    made = sorted(each.name for each in tmp_path.iterdir())
    cli("migrate", "--url", url)
    after = cli("stats", "--url", url)

    assert (4, 0) == (before.code, after.code)
    assert "there is no store at sqlite:///" in before.err
    assert [] == made
