"""Text for terminals is safe, aligned and only coloured where it is wanted."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from notifykit.cli import inputs
from notifykit.cli.text import Cell, Column, cut, encodable, fields, plain, styled, table, wants_colour, width

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Zoë 佐藤", "Zoë 佐藤"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("1\u061c2", "1\\u061c2"),
        ("half \udc80", "half \\udc80"),
    ],
)
def test_nothing_that_a_tenant_wrote_steers_the_terminal(text: str, expected: str) -> None:
    """Control characters, overrides of direction and halves of characters are shown as escapes."""
    assert expected == plain(text)


def test_what_the_encoding_lacks_is_escaped() -> None:
    """An ASCII terminal gets escapes instead of an error."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    assert "Zo\\xeb" == encodable("Zoë", stream)


def test_columns_align_whatever_the_script() -> None:
    """Wide and combining characters take the columns that terminals give them."""
    lines = table([Column("NAME"), Column("N", right=True)], [("佐藤", 1), ("Zoe\u0308", 22), (None, 333)])

    assert ["NAME    N", "佐藤    1", "Zoe\u0308    22", "-     333"] == lines
    assert 1 == len({width(line) for line in lines})


def test_on_a_narrow_terminal_nothing_is_lost() -> None:
    """What does not fit beside each other stands below, indented; a row without it has no such line."""
    columns = [Column("ID"), Column("N", right=True), Column("ADDRESS"), Column("WHY")]
    rows = [("dlv_0123456789", 7, "https://acme.example/hooks", "http_503"), ("dlv_1", 10, None, None)]

    lines = table(columns, rows, columns_wide=40)

    assert [
        "ID               N",
        "  ADDRESS                     WHY",
        "dlv_0123456789   7",
        "  https://acme.example/hooks  http_503",
        "dlv_1           10",
    ] == lines


def test_sentences_are_wrapped_and_ids_are_not() -> None:
    """A sentence takes the room that is left and goes on below itself; an id in it stays whole."""
    id_ = "dlv_01J0123456789012345678901234567890"
    columns = [Column("CHECK"), Column("FOUND", wraps=True), Column("TO DO", wraps=True)]

    lines = table(
        columns, [("dead", f"the delivery {id_} is dead and was not sent again", "redrive it")], columns_wide=48
    )

    assert [
        "CHECK  FOUND",
        "  TO DO",
        "dead   the delivery",
        f"       {id_} is",
        "       dead and was not sent again",
        "  redrive it",
    ] == lines


@pytest.mark.parametrize("columns_wide", [80, 100, 132])
def test_ids_and_reasons_are_whole_on_any_terminal(columns_wide: int) -> None:
    """The widest table, that of deliveries: no line is longer than the terminal and no id or reason is cut."""
    delivery, endpoint = "dlv_01J9ZK5V7QW3XH8N2M4P6R0T1Y0123456789ABC", "end_01J9ZK5V7QW3XH8N2M4P6R0T1Z"
    row = (delivery, "delivered", "order.shipped", endpoint, 12, "due 2026-01-31 09:00:00Z", "endpoint_failing")
    titles = ("DELIVERY", "STATE", "EVENT TYPE", "ENDPOINT", "TRIES", "WHEN", "WHY")

    lines = table([Column(title) for title in titles], [row], columns_wide=columns_wide)

    assert columns_wide >= max(map(len, lines))
    assert [] == [value for value in row if str(value) not in "\n".join(lines)]


@pytest.mark.parametrize(("text", "columns", "expected"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("佐藤美", 4, "佐…")])
def test_a_cut_text_fits(text: str, columns: int, expected: str) -> None:
    """What is left out becomes an ellipsis, and a wide character is never halved."""
    assert expected == cut(text, columns)


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No colour in files and pipes, and none with NO_COLOR or TERM=dumb."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    assert "\x1b[31mdead\x1b[0m" == styled("dead", "red", Terminal())
    assert "dead" == styled("dead", "red", io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "dead" == styled("dead", "red", Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())


def test_cells_and_fields_leave_no_trailing_blanks() -> None:
    """Lines end where their text ends, and an absent field has no line."""
    assert ["A  B", "x  -"] == table([Column("A"), Column("B")], [(Cell("x"), None)])
    assert ["id   1", "why  \\n"] == fields({"id": 1, "why": "\n", "nothing": None})


@pytest.mark.parametrize(
    ("text", "past", "expected"),
    [
        ("-2h", True, NOW - timedelta(hours=2)),
        ("+30m", True, NOW + timedelta(minutes=30)),
        ("2h", True, NOW - timedelta(hours=2)),
        ("1h30m", False, NOW + timedelta(minutes=90)),
        ("now", True, NOW),
        ("2026-01-31", True, datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T09:00", True, datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("2026-01-31T09:00+02:00", True, datetime(2026, 1, 31, 7, tzinfo=UTC)),
        ("2026-01-31T09:00:00Z", True, datetime(2026, 1, 31, 9, tzinfo=UTC)),
    ],
)
def test_times_are_iso_or_relative(text: str, past: bool, expected: datetime) -> None:
    """A time without a zone is UTC; one without a sign goes where the option looks."""
    assert expected == inputs.read_time(text, now=NOW, past=past)


@pytest.mark.parametrize("text", ["", "soon", "-", "-2", "2 h", "-9999999999999w", "0001-01-01T00:00+23:59", "1e999h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Whatever is typed, the answer is a ValueError that shows how it is written."""
    with pytest.raises(ValueError, match="is not a time; write ISO 8601"):
        inputs.read_time(text, now=NOW)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["dead", "list", "--since", "-2h"], ["dead", "list", "--since=-2h"]),
        (["--since=-2h"], ["--since=-2h"]),
        (["--", "--since", "-2h"], ["--", "--since", "-2h"]),
        (["publish", "-2h"], ["publish", "-2h"]),
    ],
)
def test_a_relative_time_is_not_an_option(argv: list[str], expected: list[str]) -> None:
    """``--since -2h`` works although -2h looks like an option."""
    assert expected == inputs.join_relative_times(argv)
