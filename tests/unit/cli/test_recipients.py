"""``notifykit recipients`` and ``preferences``: persons are saved, imported and erased, and say what they want."""

from __future__ import annotations

import asyncio
import sys
from io import BytesIO, TextIOWrapper

import pytest

from notifykit import EventType, Notifykit
from tests.unit.cli.driving import Command

ADA = "user:42"


@pytest.fixture
def ada(cli: Command) -> str:
    cli("recipients", "save", ADA, "--email", "ada@example.org", "--zone", "Europe/Berlin")
    return ADA


def test_a_recipient_is_saved_changed_shown_and_deleted(cli: Command) -> None:
    """What is not given is kept; states of addresses stand beside them."""
    made = cli(
        *("recipients", "save", ADA, "--name", "Ada", "--email", "ada@example.org", "--sms", "+4915123456789"),
        *("--locale", "de_AT", "--traits", '{"plan": "pro"}', "--if-version", "0", "--json"),
    ).record
    changed = cli("recipients", "save", ADA, "--zone", "Europe/Vienna")
    gone = cli("recipients", "address", ADA, "email", "ada@example.org", "gone", "--reason", "bounced")
    listed, shown = cli("recipients", "list"), cli("recipients", "show", ADA)
    deleted = cli("recipients", "delete", ADA)
    missing = cli("recipients", "show", ADA)

    assert ("de-AT", {"plan": "pro"}, 1) == (made["locale"], made["traits"], made["version"])
    assert ("user:42 saved, version 2\n", "user:42: email ada@example.org is gone\n") == (changed.out, gone.out)
    assert "email:a***@example.org gone sms:+491***89" in listed.out
    assert "address 1  email:a***@example.org gone (bounced)" in shown.out
    assert "Europe/Vienna" in shown.out
    assert ("user:42 deleted\n", 3) == (deleted.out, missing.code)
    assert "save one: notifykit recipients save ID" in cli("recipients", "list").out


def test_what_is_wrong_is_told(cli: Command, ada: str) -> None:
    """In one line, with every problem; a stale version is refused."""
    wrong = cli("recipients", "save", ADA, "--email", "ada", "--locale", "english")
    stale = cli("recipients", "save", ADA, "--name", "Eve", "--if-version", "7")

    assert (1, 1) == (wrong.code, stale.code)
    assert "email: [0] is no e-mail address" in wrong.err
    assert "locale: 'english' is no locale" in wrong.err
    assert "recipient 'user:42' was changed or removed since it was read" in stale.err


def test_a_file_is_imported_and_every_bad_line_named(cli: Command, tmp_path) -> None:
    """CSV by the file's name, with the byte order mark of spreadsheets; the exit code says whether all went in."""
    file = tmp_path / "people.csv"
    file.write_bytes(
        b"\xef\xbb\xbfid,email,traits.plan\r\nuser:1,a@example.org,pro\r\nuser:2,nonsense,\r\nuser:\xff,,\r\n"
    )

    text, data = cli("recipients", "import", str(file)), cli("recipients", "import", str(file), "--json")
    listed = cli("recipients", "list", "--json")

    assert (1, "Imported: 3 lines read, 1 recipients saved, 2 wrong\n") == (text.code, text.out)
    assert [3, 4] == [record["line"] for record in data.records[:2]]
    assert "line 3: email: [0] is no e-mail address" in text.err
    assert {"lines": 3, "saved": 0, "wrong": 2} == data.records[2]
    assert {"plan": "pro"} == listed.record["traits"]


def test_lines_of_json_come_from_a_file_or_a_pipe(cli: Command, tmp_path, monkeypatch) -> None:
    """A folder, or a file that is not there, is named."""
    (tmp_path / "people.jsonl").write_text('{"id": "user:1"}\n')
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b'{"id": "user:2"}\n{"id": "user:\xff"}\n')))

    file, pipe = cli("recipients", "import", "people.jsonl"), cli("recipients", "import", "-")
    none, folder = cli("recipients", "import", "none.jsonl"), cli("recipients", "import", str(tmp_path))

    assert [0, 1, 2, 2] == [answer.code for answer in (file, pipe, none, folder)]
    assert "line 2: is not UTF-8" in pipe.err
    assert "cannot read none.jsonl: No such file or directory; give a FILE or -" in none.err
    assert ["user:1", "user:2"] == [record["id"] for record in cli("recipients", "list", "--json").records]


def test_a_person_is_exported_and_erased(cli: Command, ada: str) -> None:
    """Erasing somebody unknown says so."""
    exported = cli("recipients", "export", ADA, "--json").record
    readable = cli("recipients", "export", ADA)
    erased, again = (cli("recipients", "erase", ADA) for _ in range(2))

    assert "ada@example.org" == exported["recipient"]["addresses"][0]["address"]
    assert '"ada@example.org"' in readable.out
    assert "user:42 erased from 1 rows\n" == erased.out
    assert "Nothing is known of user:42 in tenant default\n" == again.out


def test_a_person_says_what_they_want(cli: Command, ada: str) -> None:
    """Settings, mutes, quiet hours and consents, each taken back by the same options."""
    cli("preferences", "set", ADA, "off", "--category", "news", "--channel", "sms")
    cli("preferences", "set", ADA, "digest:daily")
    cli("preferences", "mute", ADA, "--topic", "project/7/**", "--until", "2999-01-01")
    cli("preferences", "mute", ADA)
    cli(
        "preferences",
        "quiet-hours",
        ADA,
        "--window",
        "22:00-07:00",
        "--window",
        "FRI-sun 12:00-13:00",
        "--except",
        "urgent",
    )
    everything = cli("preferences", "consent", ADA, "--how", "form 3", "--by", "support")
    shown = cli("preferences", "show", ADA)
    past = cli("preferences", "mute", ADA, "--channel", "sms", "--until", "2020-01-01")
    cli("preferences", "unset", ADA)
    cli("preferences", "unmute", ADA)
    cli("preferences", "quiet-hours", ADA)
    left = cli("preferences", "consent", ADA, "--withdraw")

    assert [
        "off: category news channel sms",
        "digest:daily: everything",
        "muted: topic project/7/** until 2999-01-01 00:00:00Z",
        "muted: everything",
        "quiet: every day 22:00 to 07:00, Europe/Berlin, except urgent",
        "quiet: fri sat sun 12:00 to 13:00, Europe/Berlin, except urgent",
        "agrees to marketing",
    ] == everything.out.splitlines()
    assert "No types of events are known" in shown.out.splitlines()[0]
    assert everything.out.splitlines() == shown.out.splitlines()[1:]
    assert (1, True) == (past.code, "until: must be later than now" in past.err)
    assert [
        "off: category news channel sms",
        "muted: topic project/7/** until 2999-01-01 00:00:00Z",
    ] == left.out.splitlines()


def test_a_matrix_shows_what_a_person_gets(cli: Command, ada: str, store_url: str) -> None:
    """With who has said it; without any type it says how types are known."""
    nothing = cli("preferences", "show", ADA)

    async def declare() -> None:
        async with Notifykit(store_url, event_types=[EventType(name="order.shipped", category="orders")]) as kit:
            await kit.sync_event_types()

    asyncio.run(declare())
    cli("preferences", "tenant-set", "off", "--category", "orders", "--channel", "sms", "--lock")
    cli("preferences", "mute", ADA)
    shown = cli("preferences", "show", ADA)

    assert "No types of events are known" in nothing.out
    assert "order.shipped  orders    sms      off, muted  tenant, locked" in shown.out
    assert "order.shipped  orders    email    on, muted   nobody" in shown.out
    assert "off" == next(
        cell["value"] for cell in cli("preferences", "show", ADA, "--json").records if cell["channel"] == "sms"
    )


def test_a_tenant_speaks_for_all(cli: Command, ada: str) -> None:
    """Its settings, locks, locale and zone."""
    cli("preferences", "tenant-set", "off", "--category", "news")
    cli("preferences", "tenant-set", "on", "--type", "login", "--lock")
    cli("preferences", "tenant", "--locale", "de", "--zone", "Europe/Berlin")
    cli("preferences", "tenant-unset", "--category", "news")

    said = cli("preferences", "tenant")

    assert "locale de, time zone Europe/Berlin\non: type login, locked\n" == said.out


@pytest.mark.parametrize(
    ("window", "told"),
    [
        ("22:00", "is not a window; write it like 22:00-07:00 or mon-fri 22:00-07:00"),
        ("foo-bar 22:00-07:00", "is not a window"),
        ("mon-xyz 22:00-07:00", "is not a window"),
        ("25:00-07:00", "from: must be a time from 00:00 to 23:59"),
    ],
)
def test_a_window_that_is_none_is_told(cli: Command, ada: str, window: str, told: str) -> None:
    """With what one looks like."""
    answer = cli("preferences", "quiet-hours", ADA, "--window", window)

    assert 2 == answer.code
    assert told in answer.err
