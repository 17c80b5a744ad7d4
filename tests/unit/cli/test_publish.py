"""``notifykit publish``: one event, and files of them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shared_data import shared_data
from tests.unit.cli.driving import Command


def stored(cli: Command, event_id: str, *options: str) -> dict[str, Any]:
    """Return the event as the store has it."""
    event: dict[str, Any] = cli("explain", event_id, "--json", *options).record["event"]
    return event


def test_everything_that_can_be_said_of_an_event(cli: Command) -> None:
    """Each option ends up in the stored event."""
    event_id = cli(
        *("publish", "order.shipped", '{"name": "Zoë"}', "--json", "--topic", "shop/7", "--resource", "order:A:1"),
        *("--actor", "usr_1", "--priority", "high", "--ordering-key", "A-1", "--metadata", "source=cli=test"),
        *("--occurred-at", "-1h", "--deliver-at", "+30m", "--expires-at", "+1d", "--key", "k-1"),
    ).record["event_id"]

    event = stored(cli, event_id)

    assert {"name": "Zoë"} == event["data"]
    assert ("shop/7", {"kind": "order", "id": "A:1"}, "usr_1", "high", "A-1", {"source": "cli=test"}, "k-1") == tuple(
        event[name]
        for name in ("topic", "resource", "actor", "priority", "ordering_key", "metadata", "idempotency_key")
    )
    assert event["occurred_at"] < event["published_at"] < event["due_at"] < event["expires_at"]


@pytest.mark.parametrize("source", ["@data.json", "-"])
def test_data_comes_from_a_file_or_stdin(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """``@FILE`` and ``-`` stand for JSON elsewhere."""
    (tmp_path / "data.json").write_text('{"from": "elsewhere"}')
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"from": "elsewhere"}'))

    event_id = cli("publish", "a.b", source, "--json").record["event_id"]

    assert {"from": "elsewhere"} == stored(cli, event_id)["data"]


def test_a_key_publishes_once(cli: Command) -> None:
    """The same key again is told as a duplicate; with another content it is refused."""
    first = cli("publish", "a.b", '{"n": 1}', "--key", "k", "--json").record
    again = cli("publish", "a.b", '{"n": 1}', "--key", "k", "--json").record
    other = cli("publish", "a.b", '{"n": 2}', "--key", "k")

    assert {"event_id": first["event_id"], "duplicate": True} == again
    assert 1 == other.code
    assert first["event_id"] in other.err


def test_a_refused_event_is_not_stored(cli: Command) -> None:
    """Every problem is named in one line, and the exit code is 1."""
    answer = cli("publish", "order shipped", "{}", "--topic", "a//b", "--tenant", "no good")

    assert 1 == answer.code
    assert 1 == len(answer.err.splitlines())
    assert "type:" in answer.err
    assert "tenant" in answer.err


def test_a_file_of_events_is_published_line_by_line(cli: Command, tmp_path: Path) -> None:
    """Lines may use data or payload, name what options name, and have fields of their own."""
    lines = [
        {"type": "a.one", "data": {"n": 1}, "topic": "x/1", "key": "k1", "resource": "order:7", "priority": "low"},
        {"type": "a.two", "payload": {"n": 2}, "source": "elsewhere", "deliver_at": "+1h", "tenant": "acme"},
        {"type": "a.one", "data": {"n": 1}, "topic": "x/1", "key": "k1", "resource": "order:7", "priority": "low"},
    ]
    (tmp_path / "events.jsonl").write_text("\n\n".join(json.dumps(line) for line in lines) + "\n")

    answer = cli("publish", "--jsonl", "events.jsonl", "--json", "--actor", "importer")

    first, second, third = answer.records
    assert (0, False, True) == (answer.code, first["duplicate"], third["duplicate"])
    event = stored(cli, first["event_id"])
    assert ("x/1", "low", {"kind": "order", "id": "7"}, "importer") == tuple(
        event[name] for name in ("topic", "priority", "resource", "actor")
    )
    assert {"n": 2} == stored(cli, second["event_id"], "--tenant", "acme")["data"]
    assert "source" in answer.err


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        '{"type": "a.b"}',
        '{"type": "a b", "data": {}}',
        '{"type": "a.b", "data": {}, "priority": "urgent"}',
        "\ud800",
    ],
)
def test_a_bad_line_stops_and_can_be_skipped(cli: Command, tmp_path: Path, bad: str) -> None:
    """What stands before a bad line is published, the line is named, and ``--skip`` goes on behind it."""
    good = json.dumps({"type": "a.b", "data": {"n": 1}})
    (tmp_path / "events.jsonl").write_bytes(f"{good}\n{good}\n{bad}\n{good}".encode("utf-8", "surrogatepass"))

    stopped = cli("publish", "--jsonl", "events.jsonl", "--json")
    rest = cli("publish", "--jsonl", "events.jsonl", "--json", "--skip", "3")

    assert (1, 2) == (stopped.code, len(stopped.records))
    assert "events.jsonl, line 3: " in stopped.err
    assert "--skip 2" in stopped.err
    assert (0, 1) == (rest.code, len(rest.records))


def test_the_shared_events_go_in(cli: Command) -> None:
    """A file of another origin, up to 27 kB a line and not all ASCII, is published as it is."""
    path = shared_data("github-events.jsonl")
    lines = path.read_text("utf-8").splitlines()

    answer = cli("publish", "--jsonl", str(path), "--json")

    assert (0, len(lines)) == (answer.code, len(answer.records))
    assert json.loads(lines[-1])["payload"] == stored(cli, answer.records[-1]["event_id"])["data"]


def test_people_are_named_by_options_and_by_lines(cli: Command, tmp_path: Path) -> None:
    """One or several recipients and channels; too many are refused like any other problem."""
    options = ("--to", "user:1", "--to", "user:2", "--channel", "email")
    by_option = cli("publish", "a.b", "--json", *options).record["event_id"]
    (tmp_path / "events.jsonl").write_text('{"type": "a.b", "data": {}, "to": ["user:3"]}\n')
    by_line = cli("publish", "--jsonl", "events.jsonl", "--json").record["event_id"]
    (tmp_path / "many.jsonl").write_text(json.dumps({"type": "a.b", "data": {}, "to": ["u"] * 5 + [5]}))
    refused = cli("publish", "--jsonl", "many.jsonl")

    assert [(["user:1", "user:2"], ["email"]), (["user:3"], [])] == [
        (event["to"], event["channels"]) for event in (stored(cli, by_option), stored(cli, by_line))
    ]
    assert "to: [5] must be text, not int" in refused.err
