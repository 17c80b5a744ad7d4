"""Inboxes of people: list, mark, follow, erase."""

from __future__ import annotations

import asyncio
import json

import pytest

from notifykit import Notifykit, Resource
from notifykit.ports import Inbox
from notifykit.testing import make_inbox_item
from tests.unit.cli.driving import Command, start

ADA = "user:ada"


@pytest.fixture
def items(store_url: str) -> list[str]:
    """The ids of an inbox's items, newest first."""
    items = [
        make_inbox_item(ADA, tenant="default", title="Shipped\x1b[2J", category="orders", resource=Resource("o", "1")),
        make_inbox_item(ADA, tenant="default", title="Paid", data={"n": 1}),
        make_inbox_item("user:bob", tenant="default"),
    ]

    async def put() -> None:
        async with Notifykit(store_url) as kit:
            assert isinstance(kit.store, Inbox)
            await kit.store.inbox_put(items)

    asyncio.run(put())
    return [item.id for item in items[1::-1]]


def test_an_inbox_is_listed(cli: Command, items: list[str]) -> None:
    """Newest first, with what is new; text of a tenant does not reach the terminal as it is."""
    shown = cli("inbox", "list", ADA)
    records = cli("inbox", "list", ADA, "--json").records

    assert items == [record["id"] for record in records]
    assert ({"n": 1}, None) == (records[0]["data"], records[0]["read_at"])
    assert "2 unseen, 2 unread" in shown.out
    assert r"Shipped\x1b[2J" in shown.out
    assert items[1:] == [r["id"] for r in cli("inbox", "list", ADA, "--json", "--category", "orders").records]
    assert items[1:] == [r["id"] for r in cli("inbox", "list", ADA, "--json", "--resource", "o:1").records]
    assert "has no such items" in cli("inbox", "list", "user:eve").out
    limited = cli("inbox", "list", ADA, "--limit", "1")
    assert (True, True) == ("Paid" in limited.out, "--limit N" in limited.err)


def test_items_are_marked(cli: Command, items: list[str]) -> None:
    """By their ids, or all that match."""
    assert {"changed": 1} == cli("inbox", "mark", ADA, "read", items[0], "dlv_none", "--json").record
    assert {"changed": 1} == cli("inbox", "mark", ADA, "archived", "--all", "--state", "read", "--json").record
    assert {"changed": 1} == cli("inbox", "mark", ADA, "snoozed", items[1], "--until", "8h", "--json").record
    states = {
        state: [record["id"] for record in cli("inbox", "list", ADA, "--state", state, "--json").records]
        for state in ("active", "archived", "snoozed")
    }
    assert {"active": [], "archived": items[:1], "snoozed": items[1:]} == states
    assert "1 changed" in cli("inbox", "mark", ADA, "unarchived", "--all").out
    assert "1 erased" in cli("inbox", "erase", "user:bob").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which items is not clear"),
        (("dlv_1", "--all"), "which items is not clear"),
        (("dlv_1", "--category", "orders"), "which items is not clear"),
    ],
)
def test_what_is_to_be_marked_must_be_clear(
    cli: Command, items: list[str], arguments: tuple[str, ...], message: str
) -> None:
    """Nothing is marked by guessing."""
    answer = cli("inbox", "mark", ADA, "read", *arguments)

    assert (2, True) == (answer.code, message in answer.err)


def test_a_snooze_needs_an_end(cli: Command, items: list[str]) -> None:
    """The message names the option."""
    answer = cli("inbox", "mark", ADA, "snoozed", items[0])

    assert (True, True) == (answer.code != 0, "until" in answer.err)


def test_an_inbox_is_followed(cli: Command, items: list[str]) -> None:
    """What another process changes is shown."""
    process = start("inbox", "follow", ADA, "--json", "--count", "1")
    assert process.stderr is not None
    assert "following" in process.stderr.readline()

    cli("inbox", "mark", ADA, "read", items[0])
    out, _ = process.communicate(timeout=60)

    assert (items[0], 0) == (json.loads(out)["id"], process.returncode)
