"""``notifykit keys``: a key is printed, and everything in the store is encrypted again under the current one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from notifykit.vault import KeyRing
from tests.unit.cli.driving import Answer, Command

NOWHERE = "http://127.0.0.2:9999/"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set ``NOTIFYKIT_KEYS``."""
    return lambda *rings: monkeypatch.setenv("NOTIFYKIT_KEYS", ",".join(ring.text() for ring in rings))


def test_generate_prints_what_the_variable_takes(cli: Command) -> None:
    """The answer can be used as it is, and is another one each time."""
    one, two = cli("keys", "generate"), cli("keys", "generate", "--json")

    assert (0, 0, "") == (one.code, two.code, one.err)
    assert one.out.strip() != two.record["keys"]
    assert two.record["id"] == KeyRing.parse(two.record["keys"]).current
    assert 1 == len(KeyRing.parse(one.out).ids)


def test_a_rotation_ends_with_a_store_that_the_new_key_opens(cli: Command, keys: Callable[..., None]) -> None:
    """Old key, both keys, rewrap, new key alone: secrets stay what they were, a dry run only counts."""
    old, new = KeyRing.generate("old"), KeyRing.generate("new")
    keys(old)
    made = cli("endpoints", "create", NOWHERE, "--json").record
    keys(new, old)

    counted = cli("keys", "rewrap", "--dry-run", "--json")
    done = cli("keys", "rewrap", "--json")
    again = cli("keys", "rewrap", "--dry-run")
    keys(new)
    shown = cli("endpoints", "show", made["id"], "--json")

    assert (1, 1) == (counted.code, counted.record["rows"])
    assert {"key": new.current, "rows": 1, "dry_run": False, "missed": 0, "unreadable": {}} == done.record
    assert (0, f"0 rows are not encrypted with the key {new.current}\n") == (again.code, again.out)
    assert (0, made["id"]) == (shown.code, shown.record["id"])


def test_a_missing_key_is_named_wherever_it_is_missed(cli: Command, keys: Callable[..., None]) -> None:
    """One line: which key, and what to do; a rewrap does the rest and exits with 1."""
    old, new = KeyRing.generate("old"), KeyRing.generate("new")
    keys(old)
    made = cli("endpoints", "create", NOWHERE, "--json").record
    keys(new)

    shown = cli("endpoints", "show", made["id"])
    done = cli("keys", "rewrap", "--json")

    assert (4, "") == (shown.code, shown.out)
    *_, line = shown.err.splitlines()  # behind what the log says
    assert old.current in line
    assert "NOTIFYKIT_KEYS" in line
    assert (1, {old.current: 1}) == (done.code, done.record["unreadable"])
    assert old.current in done.err


def test_production_without_keys_is_a_usage_error(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the next step; nothing is made."""
    cli("migrate")
    monkeypatch.setenv("NOTIFYKIT_ENV", "production")

    answer: Answer = cli("endpoints", "list")

    assert (2, "") == (answer.code, answer.out)
    (line,) = answer.err.splitlines()
    assert "notifykit keys generate" in line


def test_a_key_that_cannot_be_read_is_not_shown(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable and the entry."""
    cli("migrate")
    monkeypatch.setenv("NOTIFYKIT_KEYS", "k1:c2VjcmV0LXRoYXQtaXMtdG9vLXNob3J0")

    answer = cli("endpoints", "list")

    assert 2 == answer.code
    assert "NOTIFYKIT_KEYS, entry 1" in answer.err
    assert "c2VjcmV0" not in answer.err


def test_a_store_that_keeps_nothing_has_nothing_to_encrypt(cli: Command) -> None:
    """Memory is not a place where anything rests."""
    answer = cli("--url", "memory://", "keys", "rewrap")

    assert 2 == answer.code
