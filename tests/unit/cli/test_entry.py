"""The frame of the command line: help, global options, errors and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from notifykit import StaleWriteError
from notifykit.cli.commands import build
from notifykit.cli.failures import FAILED, explained
from tests.unit.cli.driving import Command, start

DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference" / "cli.md"
COMMANDS: dict[str, tuple[str, ...]] = {
    "demo": (),
    "migrate": (),
    "run": (),
    "serve": (),
    "publish": (),
    "listen": (),
    "catch": (),
    "endpoints": (
        *("list", "create", "show", "update", "delete", "pause", "resume", "disable"),
        *("rotate", "revoke", "test", "check"),
    ),
    "subscriptions": ("list", "create", "show", "update", "delete"),
    "events": ("list", "show"),
    "deliveries": ("list", "show", "cancel"),
    "dead": ("list", "redrive"),
    "recover": (),
    "explain": (),
    "follow": (),
    "stats": (),
    "completion": (),
    "check": (),
    "keys": ("generate", "rewrap"),
    "api-keys": ("create", "list", "rotate", "revoke"),
}
LEAVES: list[tuple[str, ...]] = [(name,) for name, below in COMMANDS.items() if not below]
LEAVES += [(name, sub) for name, below in COMMANDS.items() for sub in below]


def test_help_lists_commands_and_exit_codes(cli: Command) -> None:
    """``notifykit --help`` names every command and says what the exit codes mean."""
    answer = cli("--help")

    assert 0 == answer.code
    assert [] == [name for name in COMMANDS if f"    {name}" not in answer.out.replace("\n", " ")]
    for code in ("0", "1", "2", "3", "4", "130"):
        assert f"\n  {code} " in answer.out


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_teaches_by_example(cli: Command, words: tuple[str, ...]) -> None:
    """The help of a command describes it, gives an example that starts with it, and has the global options."""
    answer = cli(*words, "--help")

    assert 0 == answer.code
    assert f"\n  notifykit {' '.join(words)}" in answer.out
    assert "--tenant" in answer.out


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_is_documented(words: tuple[str, ...]) -> None:
    """The reference page shows each command."""
    assert f"notifykit {' '.join(words)}" in DOCS.read_text("utf-8")


def test_help_is_fast_because_nothing_heavy_is_imported() -> None:
    """Help loads neither the database layer nor an HTTP client nor the event loop's friends."""
    script = "import sys; from notifykit.cli import main; main(['--help']); print('\\n', *sys.modules, file=sys.stderr)"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    heavy = {"sqlalchemy", "httpx", "httptools", "alembic", "anyio", "cattrs", "cryptography", "attrs"}
    assert set() == heavy & set(done.stderr.split())


def test_no_command_is_a_usage_error(cli: Command) -> None:
    """Without a command the help goes to stderr and the exit code is 2; so it is for a group."""
    answer, group = cli(), cli("endpoints")

    assert (2, "") == (answer.code, answer.out)
    assert "usage: notifykit" in answer.err
    assert 2 == group.code
    assert "usage: notifykit endpoints" in group.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["endpoints", "list", "--limit", "zero"],
        ["deliveries", "list", "--since", "yesterday-ish"],
        ["deliveries", "list", "--state", "lost"],
        ["run", "--concurrency", "urgent=4"],
        ["run", "--lease", "5s"],
        ["publish"],
        ["publish", "a.b", "{not json"],
        ["publish", "a.b", "[1]"],
        ["publish", "a.b", "@no-such-file"],
        ["publish", "--jsonl", "no-such-file"],
        ["endpoints", "update", "end_1"],
        ["dead", "redrive"],
        ["dead", "redrive", "dlv_1", "--all"],
        ["dead", "redrive", "dlv_1", "--since", "-1h"],
        ["endpoints", "create", "https://a.example/", "--rate-limit", "fast"],
        ["--allow", "not-a-block", "endpoints", "list"],
        ["--url", "sqlite:store.db", "endpoints", "list"],
        ["--url", "nosuchdb://x", "endpoints", "list"],
        ["--url", "memory://", "run"],
        ["--url", "memory://", "publish", "a.b"],
        ["--url", "sqlite://", "publish", "a.b"],
        ["--url", "sqlite:///file.db?mode=ro", "publish", "a.b"],
        ["listen", "--status", "99"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_line_with_a_next_step(cli: Command, arguments: list[str]) -> None:
    """What cannot be used exits with 2 and one line: what happened; what to do."""
    cli("migrate")
    answer = cli(*arguments)

    assert (2, "") == (answer.code, answer.out)
    (line,) = answer.err.splitlines()
    assert line.startswith("notifykit: ")
    assert ";" in line


def test_global_options_work_before_and_after_the_command(cli: Command) -> None:
    """``--json`` and ``--tenant`` may stand anywhere; blocks from all places add up."""
    before = cli("--json", "--tenant", "acme", "endpoints", "create", "http://127.0.0.1:9000/")
    between = cli("endpoints", "--json", "--tenant", "acme", "list")
    after = cli("endpoints", "list", "--json", "--tenant", "acme")
    args = build().parse_args(
        ["--allow", "10.0.0.0/8", "endpoints", "--allow", "::1/128", "list", "--allow", "fd00::/8"]
    )

    assert "acme" == before.record["tenant"]
    assert [before.record["id"]] == [record["id"] for record in between.records]
    assert between.out == after.out
    from notifykit.cli.options import merged

    assert ["10.0.0.0/8", "::1/128", "fd00::/8"] == merged(args, "allow")


def test_reading_does_not_make_a_store(cli: Command, tmp_path: Path) -> None:
    """A mistyped URL is told with exit code 4 instead of an empty answer, and leaves no file."""
    answer = cli("dead", "list", "--fail-if-any")

    assert 4 == answer.code
    assert "notifykit migrate" in answer.err
    assert [] == list(tmp_path.iterdir())


def test_a_store_that_does_not_answer_is_exit_code_4(cli: Command) -> None:
    """Nobody listens at the database's address: one line, exit code 4, no password."""
    answer = cli("--url", "postgresql://app:geheim@127.0.0.1:1/app", "endpoints", "list")

    assert 4 == answer.code
    assert 1 == len(answer.err.splitlines())
    assert "geheim" not in answer.err


def test_migrate_makes_the_tables_and_may_run_again(cli: Command, store_url: str) -> None:
    """The first run makes the schema, the second finds it; both name its version."""
    first, second = cli("migrate", "--json"), cli("migrate", "--json")

    assert (0, 0) == (first.code, second.code)
    assert {"url": store_url, "schema": first.record["schema"]} == second.record
    assert 0 == cli("endpoints", "list").code


def test_an_object_of_another_tenant_is_not_found(cli: Command) -> None:
    """Exit code 3, and a hint at the tenant."""
    created = cli("--json", "endpoints", "create", "http://127.0.0.1:9000/").record

    answer = cli("--tenant", "other", "endpoints", "show", created["id"])

    assert 3 == answer.code
    assert "'other'" in answer.err


def test_the_version_is_printed(cli: Command) -> None:
    """``--version`` names the program and its version."""
    from notifykit import __version__

    assert f"notifykit {__version__}\n" == cli("--version").out


def test_a_reader_that_goes_away_is_no_news() -> None:
    """``notifykit … | head`` ends without a traceback."""
    process = start("endpoints", "check", "--json", "-", stdin=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()

    assert process.stdin is not None
    process.stdin.write("http://10.0.0.1/\n" * 3)
    process.stdin.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()

    assert (141, "") == (process.wait(60), err)


def test_the_installed_command_is_the_same_program() -> None:
    """``python -m notifykit`` and the entry point run the same main."""
    from importlib.metadata import entry_points

    from notifykit.cli import main

    (entry,) = (entry for entry in entry_points(group="console_scripts") if entry.name == "notifykit")

    assert main is entry.load()


def test_a_change_that_was_overtaken_says_what_to_do() -> None:
    """It is no fault of the store's address: the command may be run again."""
    error = explained(StaleWriteError("endpoint", "end_1"), "acme")

    assert FAILED == error.code
    assert str(error).endswith("; run the command again")
