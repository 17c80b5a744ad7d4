"""Whatever stands on the command line: one sentence and an exit code, never an error of Python's own."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from itertools import cycle, islice

import pytest

from notifykit import Notifykit
from notifykit.cli.commands import build

#: What people and scripts hand over by mistake; the one with ``\udcff`` is a byte that is not UTF-8.
WRONG = (
    "",
    "\0",
    "a\udcff",
    "-",
    "@",
    "@.",
    "@/no/such/file",
    "[]",
    '{"a": "\udcff"}',
    "=",
    ":",
    ",",
    "99999",
    "1e999",
    "nan",
    "9" * 5000,
    "99999999w",
    "2026-13-45",
    "http://[::1",
    "postgresql://h:abc/db",
    "x" * 70_000,
)
#: Commands that would go on for ever, or for seconds, with what they are given: only their arguments are read.
LASTING = {"serve", "run", "demo", "listen", "catch", "follow", "inbox follow"}


def leaves(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], list[argparse.Action]]]:
    """Yield every command with its arguments."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for name, inner in group.choices.items():
            yield from leaves(inner, (*path, name))
    if not groups:
        yield path, [action for action in parser._actions if action.nargs != 0 and "@" not in action.dest]


COMMANDS = {" ".join(path): actions for path, actions in leaves(build())}


def good(action: argparse.Action) -> list[str]:
    """Return a usual value for what a command cannot do without."""
    words = {"--since": "-1h", "address": "http://127.0.0.1:9/x", "urls": "http://127.0.0.1:9/x", "type": "a.b"}
    flag = action.option_strings[0] if action.option_strings else None
    value = words.get(flag or action.dest, "**" if action.metavar == "PATTERN" else "dlv_x")
    return [value] if flag is None else [f"{flag}={value}"]


@pytest.fixture
def store(store_url: str) -> None:
    async def make() -> None:
        async with Notifykit(store_url):
            pass

    asyncio.run(make())


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("values", [3, pytest.param(len(WRONG), marks=pytest.mark.thorough)], ids=["some", "all"])
def test_every_argument_of_every_command_answers_every_wrong_value(cli, monkeypatch, command, values):
    """It works, or says what is wrong in a line; the everyday run deals the values out over the arguments."""
    actions = COMMANDS[command]
    dealt = cycle(WRONG)
    for _ in range(len(command) % len(WRONG)):
        next(dealt)
    needed = [action for action in actions if action.required]

    for action in actions:
        others = [word for each in needed if each is not action for word in good(each)]
        for value in islice(dealt, values):
            own = [f"{action.option_strings[0]}={value}"] if action.option_strings else ["--", value]
            monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"\xff\n")))
            if command in LASTING:
                reading_is_all(command, [*others, *own])
                continue
            answer = cli(*command.split(), *others, *own)
            shown = f"{command} {own} said {answer.err[:300]}"
            assert "unexpected" not in answer.err, shown
            assert "Traceback" not in answer.err, shown
            assert answer.code in range(5), shown


def reading_is_all(command: str, words: list[str]) -> None:
    from notifykit.cli.failures import CommandError

    try:
        build().parse_args([*command.split(), *words])
    except CommandError:
        return


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("option", ["--url", "--tenant", "--allow"])
def test_every_global_option_answers_every_wrong_value(cli, option, value):
    """In front of any command."""
    answer = cli(f"{option}={value}", "endpoints", "list")

    assert "unexpected" not in answer.err
    assert answer.code in range(5)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("listen", "--port", "99999"), "'99999' is not a port; write a number from 0 to 65535"),
        (("listen", "--host", "x" * 300), "this is not a host name; try another --port or --host"),
        (("listen", "--host", "a\0b"), "this is not a host name; try another --port or --host"),
        (("stats", "--url", "postgresql://user:secret@host:abc/db"), None),
        (("endpoints", "list", "--url", "postgresql://user:secret@host:abc/db"), "a port is a number from 1 to 65535"),
        (("publish", "a.b", '{"a": "\udcff"}'), "it is not UTF-8 (at byte 8)"),
        (("publish", "a.b", "@bad.json"), "it is not UTF-8 (at byte 8)"),
        (("publish", "--jsonl", "bad.jsonl"), "line 2: it is not UTF-8 (at byte 31)"),
        (("demo", "--events", "bad.jsonl"), "it is not UTF-8"),
        (("demo", "--events", "list.jsonl"), "line 1: an object with 'type' and 'data' (or 'payload') is needed"),
    ],
)
def test_the_line_says_what_to_do(cli, tmp_path, words, told):
    """In words of the command line, and without the password of a URL."""
    (tmp_path / "bad.json").write_bytes(b'{"a": "\xff"}')
    (tmp_path / "bad.jsonl").write_bytes(b'{"type": "a.b", "data": {}}\n{"type": "a.b", "data": {"n":"\xff"}}\n')
    (tmp_path / "list.jsonl").write_text("[]\n")

    answer = cli(*words)

    assert answer.code in {1, 2}
    assert told is None or told in answer.err
    assert "secret" not in answer.err
    assert 1 == answer.err.count("\n")


def test_an_unknown_option_leads_to_the_help_of_its_command(cli):
    """Not to the list of all commands."""
    answer = cli("publish", "order.paid", "{}", "--delay", "1h")

    assert (2, True) == (answer.code, "unrecognized arguments: --delay 1h; see: notifykit publish --help" in answer.err)


@pytest.mark.parametrize("command", [("api-keys", "list"), ("audit",)])
def test_an_empty_list_says_so(cli, command, sqlite_store_url):
    """In place of nothing."""
    answer = cli(*command, "--url", sqlite_store_url)
    machine = cli(*command, "--url", sqlite_store_url, "--json")

    assert (0, 1, "") == (answer.code, len(answer.out.splitlines()), machine.out)
