"""``notifykit check``: what is looked at, what is wrong, and what to do about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from notifykit import Notifykit
from notifykit.models.delivery import WEBHOOK, Lane, Priority
from notifykit.models.worker import WorkerRecord
from notifykit.vault import KeyRing
from tests.unit.cli.driving import Command, Deliver, Desk, publish

NOWHERE = "http://127.0.0.2:9999/"


def levels(cli: Command, *options: str) -> tuple[int, dict[str, str]]:
    """Run ``check``; return its exit code and the level of each finding."""
    answer = cli("check", "--json", *options)
    return answer.code, {record["name"]: record["level"] for record in answer.records}


def test_a_new_store_is_healthy(cli: Command) -> None:
    """Everything that is looked at has a finding, and nothing is wrong."""
    cli("migrate")

    code, found = levels(cli)

    assert 0 == code
    assert {"python", "notifykit", "extras", "store", "schema", "leases", "waiting", "dead letters"} <= found.keys()
    assert set(found.values()) <= {"ok", "note"}
    assert "All checks passed." in cli("check").out


def test_the_package_of_another_project_is_wrong(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index has a file watcher named ``notifykit``; where it is installed, its files take the place of ours."""
    information = tmp_path / "site" / "notifykit-0.3.1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.4\nName: notifykit\nVersion: 0.3.1\n")
    cli("migrate")

    code, found = levels(cli)
    monkeypatch.syspath_prepend(str(information.parent))
    beside = levels(cli)

    assert (0, None) == (code, found.get("namesake"))
    assert (1, "bad") == (beside[0], beside[1]["namesake"])
    assert "pip uninstall notifykit;" in " ".join(record["remedy"] for record in cli("check", "--json").records)


def test_work_that_nobody_does_is_wrong(cli: Command) -> None:
    """Events that have been due for too long mean that no dispatcher runs."""
    publish(cli)

    young = levels(cli)
    old = levels(cli, "--max-age", "0s")

    assert (0, "ok") == (young[0], young[1]["waiting"])
    assert (1, "bad") == (old[0], old[1]["waiting"])
    assert "notifykit run" in cli("check", "--max-age", "0s").out


def test_dead_letters_are_a_warning(cli: Command, desk: Desk, endpoint: str, deliver: Deliver) -> None:
    """They need somebody, but the installation is not at fault."""
    desk.status = 500
    publish(cli)
    deliver()

    code, found = levels(cli)

    assert (0, "warn") == (code, found["dead letters"])


def test_leases_that_nobody_ends_are_wrong(
    cli: Command, store_url: str, desk: Desk, endpoint: str, deliver: Deliver
) -> None:
    """A claim whose worker died an hour ago and that no janitor has ended is told."""
    desk.status = 500
    publish(cli)
    deliver()
    cli("dead", "redrive", "--all")

    async def claim_and_die() -> None:
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        async with Notifykit(store_url) as kit:
            claims = await kit.store.claim(
                Lane(WEBHOOK, Priority.NORMAL), 1, now=datetime.now(UTC), lease=long_ago - datetime.now(UTC), worker="w"
            )
            assert 1 == len(claims)

    asyncio.run(claim_and_die())

    code, found = levels(cli)

    assert (1, "bad") == (code, found["leases"])


def test_a_role_that_no_worker_has_is_wrong(cli: Command, store_url: str) -> None:
    """Processes with different roles must have each of them; the relay only with a broker."""

    async def work(roles: set[str]) -> None:
        async with Notifykit(store_url) as kit:
            now = datetime.now(UTC)
            worker = WorkerRecord(id=f"w-{'-'.join(sorted(roles))}", roles=tuple(roles), started_at=now, seen_at=now)
            await kit.store.save(worker)

    cli("migrate")
    none = levels(cli)
    asyncio.run(work({"plan", "clean"}))
    planning = cli("check", "--json")
    asyncio.run(work({"send"}))
    both, unrelayed = levels(cli), levels(cli, "--broker", "memory://")

    (found,) = [each for each in planning.records if each["name"] == "workers"]
    assert (1, "bad", "1 alive; none has the role send") == (planning.code, found["level"], found["found"])
    assert "notifykit run --roles send" in found["remedy"]
    assert (0, "note") == (none[0], none[1]["workers"])
    assert (0, "ok") == (both[0], both[1]["workers"])
    assert (1, "bad") == (unrelayed[0], unrelayed[1]["workers"])


def test_a_store_that_cannot_be_used_is_exit_code_4(cli: Command) -> None:
    """The rest is still looked at."""
    code, found = levels(cli, "--url", "postgresql://app@127.0.0.1:1/app")

    assert 4 == code
    assert ("ok", "bad") == (found["python"], found["store"])


def test_dead_letters_are_counted_with_their_tenants(cli: Command, desk: Desk, deliver: Deliver) -> None:
    """The count is of all tenants, says so, and names a tenant whose dead letters the next command shows."""
    desk.status = 500
    for tenant, count in (("acme", 2), ("globex", 1)):
        cli("endpoints", "create", desk.url, "--events", "**", "--retry", "none", "--tenant", tenant)
        for _ in range(count):
            cli("publish", "order.shipped", "{}", "--tenant", tenant)
    deliver()

    finding = next(record for record in cli("check", "--json").records if record["name"] == "dead letters")

    assert "3 of all tenants: acme 2, globex 1" == finding["found"]
    assert "notifykit dead list --tenant acme" in finding["remedy"]
    assert 2 == len(cli("dead", "list", "--tenant", "acme", "--json").records)


def test_a_mistyped_variable_is_a_warning(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be ignored in silence; the finding names the variable that may be meant."""
    cli("migrate")
    monkeypatch.setenv("NOTIFYKIT_KEY", "k1:…")

    code, found = levels(cli)

    assert (0, "warn") == (code, found["environment"])
    assert "did you mean NOTIFYKIT_KEYS?" in cli("check").out


@pytest.mark.parametrize(
    ("name", "value"),
    [("NOTIFYKIT_ALLOW_HTTP", "maybe"), ("NOTIFYKIT_ENCRYPT_PAYLOADS", "maybe"), ("NOTIFYKIT_ENV", "produciton")],
)
def test_an_unknown_value_of_a_variable_is_wrong(
    cli: Command, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """``check`` and every other command say which one, and what may stand there."""
    cli("migrate")
    monkeypatch.setenv(name, value)

    answer, listed = cli("check"), cli("endpoints", "list")

    assert (2, 2) == (answer.code, listed.code)
    assert f"{name} is '{value}'" in answer.out
    assert f"{name} is '{value}': use " in listed.err


# -- keys ----------------------------------------------------------------------------------------


@pytest.fixture
def use_keys(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set ``NOTIFYKIT_KEYS``."""
    return lambda *rings: monkeypatch.setenv("NOTIFYKIT_KEYS", ",".join(ring.text() for ring in rings))


def key_findings(cli: Command) -> tuple[int, list[tuple[str, str]]]:
    """Return the exit code of ``check``, and what it found out about keys."""
    answer = cli("check", "--json")
    return answer.code, [
        (record["level"], f"{record['found']}; {record['remedy']}")
        for record in answer.records
        if record["name"] == "keys"
    ]


def test_keys_that_open_what_is_stored_are_in_order(cli: Command, use_keys: Callable[..., None]) -> None:
    """Both keys of a rotation are there: the finding says how much was read."""
    old, new = KeyRing.generate("old"), KeyRing.generate("new")
    use_keys(old)
    cli("endpoints", "create", NOWHERE)
    use_keys(new, old)

    ((level, text),) = key_findings(cli)[1]

    assert "ok" == level
    assert "1 endpoints" in text


def test_keys_that_do_not_open_the_store_are_wrong(cli: Command, use_keys: Callable[..., None]) -> None:
    """A key that endpoints were sealed under is missing: exit code 1, and the finding names it."""
    old, new = KeyRing.generate("old"), KeyRing.generate("new")
    use_keys(old)
    cli("endpoints", "create", NOWHERE)
    use_keys(new)
    cli("endpoints", "create", NOWHERE)

    code, ((level, text),) = key_findings(cli)

    assert (1, "bad") == (code, level)
    assert f"1 row encrypted with the key {old.current}" in text
    assert f"add {old.current} to NOTIFYKIT_KEYS" in text


def test_another_key_of_the_same_id_is_wrong(cli: Command, use_keys: Callable[..., None]) -> None:
    """The id alone proves nothing: values are really opened."""
    first, second = KeyRing.generate(), KeyRing.generate()
    use_keys(first)
    cli("endpoints", "create", NOWHERE)
    use_keys(KeyRing.parse(f"{first.current}:{second.text().partition(':')[2]}"))

    code, ((level, text),) = key_findings(cli)

    assert (1, "bad") == (code, level)
    assert "cannot be decrypted" in text


def test_keys_must_open_events_and_answers_too(
    cli: Command, desk: Desk, deliver: Deliver, use_keys: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With encrypted payloads an event and the answer to it are tried, when the endpoint is gone as well."""
    monkeypatch.setenv("NOTIFYKIT_ENCRYPT_PAYLOADS", "1")
    old, new = KeyRing.generate("old"), KeyRing.generate("new")
    use_keys(old)
    endpoint = cli("endpoints", "create", desk.url, "--events", "**", "--json").record["id"]
    cli("publish", "order.shipped", "{}", "--metadata", "source=test")
    deliver()
    cli("endpoints", "delete", endpoint)
    use_keys(new)

    code, ((level, text),) = key_findings(cli)

    assert (1, "bad") == (code, level)
    assert f"2 rows encrypted with the key {old.current}" in text
