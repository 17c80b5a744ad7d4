"""The port of a store stays small, and what is optional stays outside of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from notifykit.ports import Digests, Inbox, JoinsTransactions, ListsTenants, Rekeys, Store
from notifykit.stores.memory import MemoryStore
from notifykit.stores.sql.sqlite.store import SqliteStore

MOST = 30
ARCHITECTURE = Path(__file__).parents[2] / "docs/explanation/architecture.md"


def verbs(port: type) -> set[str]:
    """Return the public methods and properties of a protocol."""
    members = inspect.getmembers(port, lambda member: inspect.isfunction(member) or isinstance(member, property))
    return {name for name, _ in members if not name.startswith("_")}


def test_a_store_has_at_most_thirty_verbs():
    """A new kind of record, or of filter, needs no verb."""
    assert len(verbs(Store)) <= MOST


def test_the_architecture_page_lists_every_verb():
    """The table of verbs is the port."""
    page = ARCHITECTURE.read_text()
    rows = re.findall(r"^\| (?:queue|records|operations|limits|life) \| (.*?)(?::| \|)", page, re.MULTILINE)

    assert verbs(Store) == {verb for row in rows for verb in re.findall(r"`(\w+)`", row)}
    assert f"A store has {len(verbs(Store))} verbs" in page


def test_optional_protocols_add_to_the_port():
    """No store need have them, and a store says by its methods whether it has."""
    optional = (JoinsTransactions, Rekeys, Digests, Inbox, ListsTenants)
    memory, sqlite = MemoryStore(), SqliteStore("sqlite://")

    assert not set().union(*map(verbs, optional)) & verbs(Store)
    assert [False, False, True, True, True] == [isinstance(memory, port) for port in optional]
    assert [True, True, True, True, True] == [isinstance(sqlite, port) for port in optional]
