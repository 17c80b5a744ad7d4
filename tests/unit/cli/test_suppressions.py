"""``notifykit suppressions``: addresses are put on the list, looked up, taken off, imported and exported."""

from __future__ import annotations

import pytest

from tests.unit.cli.driving import Command

MAIL = "ada@example.org"


def test_an_address_is_added_checked_listed_and_removed(cli: Command) -> None:
    """The exit code of check says whether it is suppressed, for scripts."""
    added = cli(
        *("suppressions", "add", "email", MAIL, "--reason", "complaint", "--purpose", "marketing"),
        *("--evidence", "letter ☃", "--until", "+30d"),
    )
    found, data = (cli("suppressions", "check", "email", MAIL.upper(), *more) for more in ((), ("--json",)))
    listed, rows = (cli("suppressions", "list", *more) for more in ((), ("--json",)))
    other = cli("suppressions", "check", "email", "other@example.org")
    wrong = cli("suppressions", "check", "sms", "0151")
    removed = [cli("suppressions", "remove", "email", MAIL, "--reason", reason) for reason in ("stop", "complaint")]

    assert ([0, 0, 1], [1, 0]) == ([each.code for each in (other, added, found)], [each.code for each in removed])
    assert "other@example.org is not suppressed\n" == other.out
    assert (2, True, True) == (wrong.code, "is no telephone number" in wrong.err, "stored" not in wrong.err)
    assert f"{MAIL} is suppressed: complaint since" in added.out
    assert "for marketing (letter ☃)" in found.out
    assert (True, "email", ["marketing"]) == (
        data.record["suppressed"],
        data.record["channel"],
        data.record["entries"][0]["purposes"],
    )
    assert "complaint since" in listed.out
    assert MAIL not in listed.out + rows.out
    assert rows.record["id"] == data.record["id"]
    assert "Tenant default has no suppressed addresses" in cli("suppressions", "list").out


def test_a_list_moves_from_one_store_to_another(cli: Command, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor's file goes in, every bad line is named, and the export goes into another store."""
    file = tmp_path / "bounces.csv"
    file.write_text(f"address,evidence\n{MAIL},550 ☃\nnonsense,\n", encoding="utf-8")

    imported = cli("suppressions", "import", str(file), "--channel", "email", "--reason", "hard_bounce")
    exported = cli("suppressions", "export")
    (tmp_path / "list.jsonl").write_text(exported.out, encoding="utf-8")
    monkeypatch.setenv("NOTIFYKIT_URL", f"sqlite:///{tmp_path / 'other.db'}")
    again = cli("suppressions", "import", str(tmp_path / "list.jsonl"))

    assert (1, "Imported: 2 lines read, 1 addresses saved, 1 wrong\n") == (imported.code, imported.out)
    assert "line 3: address: is no e-mail address" in imported.err
    assert (0, "Imported: 1 lines read, 1 addresses saved\n") == (again.code, again.out)
    assert "hard_bounce" in cli("suppressions", "check", "email", MAIL).out
