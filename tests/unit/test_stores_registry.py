"""Stores by URL: the scheme selects one, third parties can add theirs, and errors name what is wrong."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from notifykit import stores
from notifykit.errors import ConfigurationError, MissingExtraError
from notifykit.stores import store_from_url
from notifykit.stores.memory import MemoryStore
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.stores.sql.sqlite.store import SqliteStore


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory://", MemoryStore),
        ("sqlite:///store.db", SqliteStore),
        ("sqlite:////var/lib/store.db", SqliteStore),
        ("SQLite:///store.db", SqliteStore),
        ("sqlite+aiosqlite:///store.db", SqliteStore),
        ("postgresql://me@db/shop", PostgresStore),
        ("postgres://me@db/shop", PostgresStore),
        ("postgresql+asyncpg://me@db/shop", PostgresStore),
    ],
)
def test_the_scheme_says_which_store(url, kind):
    """A driver behind the scheme does not matter: the store brings its own."""
    assert kind is type(store_from_url(url))


def test_options_go_to_the_store():
    """Options that a URL cannot hold are passed beside it."""
    assert 3 == store_from_url("postgresql://db/shop", pool_size=3)._pool_size  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["", "store.db", "://x", "/var/lib/store.db"])
def test_what_is_no_url_is_refused(url):
    """The message shows what a URL looks like."""
    with pytest.raises(ConfigurationError, match=r"sqlite:///file\.db"):
        store_from_url(url)


def test_an_unknown_scheme_is_refused():
    """The message lists the known ones."""
    with pytest.raises(ConfigurationError, match="no store for 'oracle' URLs; known: mariadb, memory, mysql"):
        store_from_url("oracle://db/shop")


def test_memory_takes_nothing_behind_it():
    """A name there would suggest that two kits share the store, which they would not."""
    with pytest.raises(ConfigurationError, match="takes nothing"):
        store_from_url("memory://shared")


def made_by_a_third_party(url: str, **options: object) -> tuple[str, dict[str, object]]:
    return url, options


def test_third_parties_add_schemes(monkeypatch):
    """An installed package that declares the entry point is found by its scheme, and listed."""
    theirs = EntryPoint("theirs", f"{__name__}:made_by_a_third_party", "notifykit.stores")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(stores, "entry_points", lambda group: EntryPoints([theirs]).select(group=group))

    made: object = store_from_url("theirs+driver://host", size=1)

    assert ("theirs+driver://host", {"size": 1}) == made
    with pytest.raises(ConfigurationError, match="sqlite, theirs"):
        store_from_url("oracle://db/shop")


def test_a_missing_driver_names_the_extra(monkeypatch):
    """Without asyncpg the error says what to install, and it is no ImportError of another module."""
    for loaded in [name for name in sys.modules if name.startswith("notifykit.stores.sql.postgres")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(MissingExtraError, match=r"pip install 'notifykit-sdk\[postgres\]'") as missing:
        store_from_url("postgresql://db/shop")

    assert "postgres" == missing.value.extra
